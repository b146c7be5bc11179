import type { IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import { CliError, messageOf, systemCode } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Connection } from './connection.ts';
import { answerError, connectionError } from './failures.ts';
import { parseRetryAfter, pauseBeforeRetry, type Ending } from './retry.ts';
import type { HttpReply, Method, StreamBody, Transport } from './transport.ts';
import { TransportError, transportKind } from './transport-error.ts';
import { strangeAnswer } from './wire.ts';

interface ApiRequest {
  readonly method: Method;
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | StreamBody;
  /** A service's token in place of the user name and password (`POST /job`). */
  readonly token?: string;
  /** May be sent again after a failure. @default true but for POST */
  readonly repeatable?: boolean;
  /** Also statuses that the caller handles itself. */
  readonly accept?: readonly number[] | 'any';
  /** How long the server may be silent, where it is not as long as always. */
  readonly idleMs?: number;
}

export interface ApiClient {
  /** The reply with its body unread. @throws CliError for every status that is neither 2xx nor in `accept` */
  send(request: ApiRequest): Promise<HttpReply>;
  /** What a reply that is no success says. */
  errorOf(reply: HttpReply): Promise<CliError>;
  /** The reply's JSON. */
  json(request: ApiRequest): Promise<unknown>;
  /** The reply's JSON, or undefined where the server has no such thing (404). */
  find(request: ApiRequest): Promise<unknown>;
  /** The reply's body is not wanted. */
  done(request: ApiRequest): Promise<HttpReply>;
}

export interface ApiDeps {
  readonly connection: Connection;
  readonly transport: Transport;
  readonly signal: AbortSignal;
  /** Resolves after `ms`; rejects with the signal's reason. */
  readonly sleep: (ms: number) => Promise<void>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
}

/** More than any list of services that a person would ask for. */
const maxJsonBytes = 256 * 1024 * 1024;
const maxErrorBytes = 64 * 1024;

/** Calls with credentials, retries and errors that say what to do. */
export function createApiClient(deps: ApiDeps): ApiClient {
  const state = { wasReached: false };
  const send = async (request: ApiRequest): Promise<HttpReply> => {
    const reply = await sendWithRetries(deps, state, request);
    if (isSuccess(reply.status) || accepts(request, reply.status)) return reply;
    throw await errorOf(reply);
  };
  const errorOf = async (reply: HttpReply): Promise<CliError> =>
    answerError(deps.connection, reply, await readText(reply.body, maxErrorBytes, deps.signal));
  const find = async (request: ApiRequest): Promise<unknown> => {
    const text = await readWhole(deps, send, { ...request, accept: [404] });
    return text === undefined ? undefined : parseJson(request, text);
  };
  return {
    send,
    errorOf,
    find,
    json: async (request) => {
      const text = await readWhole(deps, send, request);
      return parseJson(request, text ?? '');
    },
    done: async (request) => {
      const reply = await send(request);
      await readText(reply.body, maxErrorBytes, deps.signal);
      return reply;
    },
  };
}

function parseJson(request: ApiRequest, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw strangeAnswer(`${request.path} gave no JSON`);
  }
}

/**
 * The body of an answer, undefined after an accepted 404; asked for again when the connection broke before its end, where that is
 * harmless.
 */
async function readWhole(
  deps: ApiDeps,
  send: ApiClient['send'],
  request: ApiRequest,
): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    const reply = await send(request);
    try {
      const text = await readText(reply.body, maxJsonBytes, deps.signal);
      return reply.status === 404 ? undefined : text;
    } catch (error) {
      if (!(error instanceof BrokenAnswer) || request.method !== 'GET' || tries >= 3) throw error;
    }
  }
}

function accepts({ accept }: ApiRequest, status: number): boolean {
  return accept === 'any' || accept?.includes(status) === true;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

async function sendWithRetries(
  deps: ApiDeps,
  state: { wasReached: boolean },
  request: ApiRequest,
): Promise<HttpReply> {
  const isRepeatable = request.repeatable ?? request.method !== 'POST';
  let firstEnd: number | undefined;
  for (let count = 1; ; count += 1) {
    const { reply, error, ending } = await tryOnce(deps, request, !isRepeatable, state.wasReached);
    if (reply !== undefined) state.wasReached = true;
    const now = deps.now();
    firstEnd ??= now;
    const tries = { count, since: now - firstEnd, wasReached: state.wasReached };
    const pause =
      isRepeatable && ending !== undefined ? pauseBeforeRetry(ending, tries, deps.random()) : undefined;
    if (pause === undefined) {
      if (reply !== undefined) return reply;
      throw error;
    }
    reply?.body.destroy();
    await deps.sleep(pause);
  }
}

interface Try {
  readonly reply?: HttpReply;
  readonly error?: unknown;
  /** Absent: trying again is out of the question. */
  readonly ending?: Ending;
}

async function tryOnce(deps: ApiDeps, request: ApiRequest, once: boolean, wasReached: boolean): Promise<Try> {
  try {
    const reply = await deps.transport.send({
      method: request.method,
      path: request.path + queryText(request.query),
      headers: headersOf(deps.connection, request),
      ...(request.body === undefined ? {} : { body: bodyOf(request.body) }),
      once,
      ...(request.idleMs === undefined ? {} : { idleMs: request.idleMs }),
    });
    if (isSuccess(reply.status)) return { reply };
    const retryAfterSeconds = parseRetryAfter(reply.header('retry-after'), deps.now());
    return { reply, ending: { kind: 'status', status: reply.status, retryAfterSeconds } };
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return { error: connectionError(deps.connection, error, wasReached), ending: { kind: error.kind } };
  }
}

function headersOf(connection: Connection, request: ApiRequest): Record<string, string> {
  const { credentials } = connection;
  const basic =
    credentials && Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
  const authorization = request.token === undefined ? basic && `Basic ${basic}` : `Bearer ${request.token}`;
  return {
    accept: 'application/json, text/plain, */*',
    'user-agent': 'sluice-cli',
    ...(authorization === undefined ? {} : { authorization }),
    ...(typeof request.body === 'string' ? { 'content-type': 'application/json' } : {}),
    ...request.headers,
  };
}

function bodyOf(body: Uint8Array | string | StreamBody): Uint8Array | StreamBody {
  return typeof body === 'string' ? Buffer.from(body) : body;
}

function queryText(query: ApiRequest['query']): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString()}`;
}

/** A key as part of a path: every segment percent-encoded, slashes kept. @throws CliError for a name that is not Unicode */
export function encodeKey(key: string): string {
  if (!key.isWellFormed())
    throw new CliError(exitCodes.usage, `"${key}" is not Unicode text.`, { code: 'usage' });
  return key.split('/').map(encodeURIComponent).join('/');
}

/** Body chunks as they come. @throws CliError when the connection breaks; the signal's reason once it is aborted */
export async function* bodyChunks(body: IncomingMessage, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) yield chunk;
  } catch (error) {
    signal.throwIfAborted();
    throw brokenBody(error);
  }
}

function brokenBody(error: unknown): unknown {
  if (error instanceof TransportError) {
    return new CliError(exitCodes.timedOut, `The server stopped sending: ${error.message}.`, {
      code: 'timed_out',
      cause: error,
    });
  }
  if (transportKind(systemCode(error)) === undefined) return error;
  return new BrokenAnswer(`The connection broke in the middle of an answer: ${messageOf(error)}.`, error);
}

/** The answer stopped before its end; asking again may give it whole. */
export class BrokenAnswer extends CliError {
  constructor(message: string, cause: unknown) {
    super(exitCodes.unreachable, message, { code: 'connection_broken', cause });
    this.name = 'BrokenAnswer';
  }
}

/** A body as bytes. @throws CliError `too_large` past the limit */
export async function readBytes(body: IncomingMessage, limit: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(body, signal)) {
    size += chunk.length;
    if (size > limit) {
      throw new CliError(exitCodes.failed, `The answer is larger than ${limit / 1024 / 1024} MiB.`, {
        code: 'too_large',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A body as text, cut at the limit. */
async function readText(body: IncomingMessage, limit: number, signal: AbortSignal): Promise<string> {
  const decoder = new StringDecoder('utf8');
  const parts: string[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(body, signal)) {
    size += chunk.length;
    if (size > limit) break;
    parts.push(decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)));
  }
  return parts.join('') + decoder.end();
}

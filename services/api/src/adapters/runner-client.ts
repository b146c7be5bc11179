import type { Readable } from 'node:stream';
import type { Secret } from '@sluice/shared/config';
import {
  RunnerLogEntry,
  RunnerResult,
  runnerCallHeader,
  runnerResultHeader,
  runnerToken,
  type RunnerCall,
} from '@sluice/shared/contracts';
import { AppError, messageOf, systemCode } from '@sluice/shared/errors';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Agent, Dispatcher } from 'undici';
import type { RunnerAddress, RunnerClient, RunnerReply } from '../ports.ts';

/** Under the 5 s after which a Node server closes an idle connection: a request must not meet that end. */
const keepAliveMs = 4000;
const connectMs = 3000;
/** Past the script's time, for inputs, outputs and the end of the script. */
const marginMs = 120_000;
/** An answer on which nothing moves, while somebody reads it, is broken off. */
const silenceMs = 60_000;
const logsMs = 5000;
const logBytes = 4_194_304;
/** Of a refusal's text; it is for the log. */
const messageBytes = 1024;

const LogAnswer = Type.Object({ entries: Type.Array(RunnerLogEntry) });

const results: ReadonlySet<unknown> = new Set(RunnerResult.anyOf.map((one) => one.const));

/** The runners' HTTP by `undici`: connections are kept, one request at a time on each. */
export function createRunnerClient(deps: { readonly key: Secret }): RunnerClient {
  const tokens = tokenCache(deps.key);
  let agent: Promise<Agent> | undefined;
  let closed = false;
  const connected = (): Promise<Agent> => {
    if (closed) throw new Error('the client of the runners is closed');
    return (agent ??= openAgent());
  };
  return {
    invoke: async (request) => invoke(await connected(), tokens(request.runner.id), request),
    logs: async (runner, tail, signal) =>
      readLogs(await connected(), tokens(runner.id), runner, tail, signal),
    close: async () => {
      closed = true;
      await (await agent)?.destroy();
    },
  };
}

/** Loaded when it is first needed: the server's start is 40 ms shorter without. */
async function openAgent(): Promise<Agent> {
  const { Agent } = await import('undici');
  return new Agent({
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    connect: { timeout: connectMs },
    bodyTimeout: silenceMs,
  });
}

/** One HMAC a runner instead of one a call. Forgets all now and then, which costs little and bounds it. */
function tokenCache(key: Secret): (runnerId: string) => string {
  const known = new Map<string, string>();
  return (runnerId) => {
    let token = known.get(runnerId);
    if (token === undefined) {
      if (known.size >= 1000) known.clear();
      token = runnerToken(key.reveal(), runnerId);
      known.set(runnerId, token);
    }
    return token;
  };
}

interface Invocation {
  readonly runner: RunnerAddress;
  readonly call: RunnerCall;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

async function invoke(
  agent: Agent,
  token: string,
  { runner, call, body, signal }: Invocation,
): Promise<RunnerReply> {
  const { origin, path } = placeOf(runner, '/invoke');
  let response: Dispatcher.ResponseData;
  try {
    response = await agent.request({
      origin,
      path,
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        [runnerCallHeader]: Buffer.from(JSON.stringify(call)).toString('base64url'),
      },
      body,
      signal,
      headersTimeout: call.timeout_ms + marginMs,
    });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return neverStarted(error)
      ? { kind: 'refused', why: 'unreachable', message: messageOf(error) }
      : { kind: 'lost', message: messageOf(error) };
  }
  return replyOf(response);
}

async function replyOf({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<RunnerReply> {
  const result = headers[runnerResultHeader];
  if (results.has(result)) {
    return {
      kind: 'answered',
      result: result as RunnerResult,
      retryAfterSeconds: wholeNumber(headers['retry-after']),
      length: wholeNumber(headers['content-length']),
      body,
    };
  }
  const message = `${statusCode} ${await textStart(body)}`;
  const why = refusals.get(statusCode);
  if (why !== undefined) return { kind: 'refused', why, message };
  return statusCode >= 400 && statusCode < 500
    ? { kind: 'rejected', tooLarge: statusCode === 413, message }
    : { kind: 'lost', message };
}

const refusals = new Map([
  [401, 'denied'],
  [429, 'busy'],
  [503, 'draining'],
] as const) as ReadonlyMap<number, 'denied' | 'busy' | 'draining'>;

/** True where no connection was made: what happens on an open one may have reached the runner. */
function neverStarted(error: unknown): boolean {
  const code = systemCode(error) ?? '';
  if (['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'].includes(code)) return true;
  return typeof error === 'object' && error !== null && 'syscall' in error && error.syscall === 'connect';
}

async function readLogs(
  agent: Agent,
  token: string,
  runner: RunnerAddress,
  tail: number,
  signal: AbortSignal,
): Promise<readonly RunnerLogEntry[]> {
  const { origin, path } = placeOf(runner, `/logs?tail=${tail}`);
  try {
    const { statusCode, body } = await agent.request({
      origin,
      path,
      method: 'GET',
      headers: { authorization: `Bearer ${token}` },
      signal,
      headersTimeout: logsMs,
      bodyTimeout: logsMs,
    });
    const bytes = await readWhole(body, logBytes);
    if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    const answer: unknown = JSON.parse(bytes.toString('utf8'));
    const check = Compile(LogAnswer);
    if (!check.Check(answer)) throw new Error('not in the form of a log');
    return answer.entries;
  } catch (error) {
    throw new AppError('unavailable', `The log of a runner cannot be read (${messageOf(error)}).`, {
      cause: error,
    });
  }
}

/** Origin and path apart, as undici wants them; `url` may have a path of its own. */
function placeOf(runner: RunnerAddress, route: string): { readonly origin: string; readonly path: string } {
  const slash = runner.url.indexOf('/', runner.url.indexOf('://') + 3);
  if (slash < 0) return { origin: runner.url, path: route };
  return { origin: runner.url.slice(0, slash), path: `${runner.url.slice(slash)}${route}` };
}

async function readWhole(body: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > limit) throw new Error(`more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/** The beginning of a refusal's text; reading it to its end keeps the connection. */
async function textStart(body: Readable): Promise<string> {
  try {
    return (await readWhole(body, messageBytes)).toString('utf8').trim();
  } catch {
    return '';
  }
}

function wholeNumber(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

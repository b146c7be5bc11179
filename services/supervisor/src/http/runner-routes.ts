import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  runnerCallHeader,
  runnerResultHeader,
  type RunnerCall,
  type RunnerHealth,
} from '@sluice/shared/contracts';
import { isAppError, type AppError } from '@sluice/shared/errors';
import { performCall } from '../app/perform-call.ts';
import type { CallInHand, HostedRunner } from './hosted-runner.ts';
import { readBody } from './read-body.ts';
import type { ServerState } from './runner-server.ts';

const address = /^\/([A-Za-z0-9_-]{1,200})\/(invoke|logs|health|drain)(?:\?(.*))?$/;
const defaultTail = 200;
const maxTail = 1000;

/** Answers one request; rejects only where there is a bug. */
export async function handleRequest(
  state: ServerState,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [, id = '', route, query] = address.exec(request.url ?? '') ?? [];
  if (route === undefined) return refuse(response, 404, 'there is nothing here');
  const runner = state.runners.get(id);
  if (!isAllowed(request, runner?.token ?? state.tokenOf(id))) {
    return refuse(response, 401, 'the token is not of this runner');
  }
  const method = route === 'invoke' || route === 'drain' ? 'POST' : 'GET';
  if (request.method !== method) return refuse(response, 405, `use ${method}`, { allow: method });
  if (runner === undefined) {
    return refuse(response, route === 'invoke' ? 503 : 404, 'there is no such runner');
  }
  if (route === 'invoke') return invoke(state, runner, request, response);
  if (route === 'drain') return drain(runner, response);
  return route === 'logs' ? sendLogs(runner, query, response) : sendHealth(runner, response);
}

/** Compared as hashes: in constant time whatever the length. */
function isAllowed(request: IncomingMessage, token: string): boolean {
  const given = createHash('sha256')
    .update(request.headers.authorization ?? '')
    .digest();
  return timingSafeEqual(given, createHash('sha256').update(`Bearer ${token}`).digest());
}

async function invoke(
  state: ServerState,
  runner: HostedRunner,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (runner.state !== 'ready') return refuse(response, 503, 'the runner takes no calls any more');
  if (runner.inHand !== undefined) {
    state.metrics.ended('busy');
    return refuse(response, 429, 'the runner has a call in hand');
  }
  let call: RunnerCall;
  try {
    call = state.parseCall(request.headers[runnerCallHeader]);
  } catch (error) {
    if (isAppError(error)) return refuse(response, 400, error.message);
    throw error;
  }
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const inHand: CallInHand = { abort: new AbortController(), ended };
  runner.inHand = inHand;
  response.on('close', () => {
    if (!response.writableFinished) inHand.abort.abort();
  });
  try {
    await answerCall(state, runner, inHand, call, request, response);
  } finally {
    if (runner.inHand === inHand) runner.inHand = undefined;
    resolve();
  }
}

async function answerCall(
  state: ServerState,
  runner: HostedRunner,
  inHand: CallInHand,
  call: RunnerCall,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let body: Uint8Array;
  try {
    body = await readBody(request, state.limits.bodyBytes, inHand.abort.signal);
  } catch (error) {
    if (isAppError(error)) return refuseBody(response, error);
    throw error;
  }
  await runner.settling;
  const memory = state.answers.share();
  const { answer, done } = performCall(
    {
      perform: state.perform,
      clock: state.clock,
      tracer: state.tracer,
      responseBytes: state.limits.responseBytes,
    },
    {
      plan: runner.plan,
      call,
      body,
      scripts: runner.scripts,
      output: runner.log,
      folders: runner.folders,
      onScriptStarted: runner.folders.tidy,
      memory,
      signal: inHand.abort.signal,
    },
  );
  runner.settling = done;
  let made: Awaited<typeof answer>;
  try {
    made = await answer;
  } finally {
    // Not before: a script whose caller has gone still prints.
    if (response.closed) memory.release();
    else response.once('close', memory.release);
  }
  const { status, result, body: answered, seconds, retryAfterSeconds } = made;
  runner.log.endLine();
  state.metrics.ended(response.destroyed ? 'cancelled' : result);
  // Free before the caller knows: its next call must not be refused.
  runner.inHand = undefined;
  if (response.destroyed) return;
  response.writeHead(status, {
    // OSCAR's watchdog gives back the request's (OSCAR §5.3).
    'content-type': printableHeader(call.headers['content-type']) ?? 'text/plain; charset=utf-8',
    'content-length': answered.length,
    'x-duration-seconds': seconds.toFixed(6),
    [runnerResultHeader]: result,
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
  });
  response.end(answered);
}

/** A header's value that may be sent back; undefined where it could not be. */
function printableHeader(value: string | undefined): string | undefined {
  return value !== undefined && /^[\x20-\x7e]+$/.test(value) ? value : undefined;
}

/** Nothing of the call was started: the answer has no `x-sluice-result`. */
function refuseBody(response: ServerResponse, error: AppError): void {
  // What still comes of the body is not worth reading.
  if (error.code === 'too_large') return refuse(response, 413, error.message, { connection: 'close' });
  refuse(response, 503, error.message);
}

function drain(runner: HostedRunner, response: ServerResponse): void {
  if (runner.state === 'ready') runner.state = 'draining';
  response.writeHead(204).end();
}

function sendLogs(runner: HostedRunner, query: string | undefined, response: ServerResponse): void {
  const given = new URLSearchParams(query).get('tail') ?? String(defaultTail);
  if (!/^[0-9]{1,6}$/.test(given)) return refuse(response, 400, `tail is a number, 1 to ${maxTail}`);
  sendJson(response, { entries: runner.log.tail(Math.min(Number(given), maxTail)) });
}

function sendHealth(runner: HostedRunner, response: ServerResponse): void {
  const health: RunnerHealth = { state: runner.state, busy: runner.inHand !== undefined };
  sendJson(response, health);
}

function sendJson(response: ServerResponse, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

function refuse(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.destroyed) return;
  const body = Buffer.from(`${message}\n`);
  const type = { 'content-type': 'text/plain; charset=utf-8', 'content-length': body.length };
  response.writeHead(status, { ...type, ...headers });
  response.end(body);
}

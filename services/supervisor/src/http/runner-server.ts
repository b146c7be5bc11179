import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { runnerHeadBytes, runnerToken, type RunnerCall, type RunnerPlan } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { noTracer, type Logger, type Registry, type Tracer } from '@sluice/shared/telemetry';
import { createCallMetrics, type CallMetrics } from '../app/metrics.ts';
import { createRunnerLog, type RunnerLogLimits } from '../app/runner-log.ts';
import type { Supervisor } from '../app/supervisor.ts';
import { createAnswerMemory } from '../domain/answer-memory.ts';
import { createCallFolders } from '../files/call-folders.ts';
import { createFolderRemover, type FolderRemover } from '../files/folder-remover.ts';
import type { ScriptRunner } from '../ports.ts';
import { createCallParser } from './call-header.ts';
import { createHostedRunner, drainRunner, type HostedRunner } from './hosted-runner.ts';
import { handleRequest } from './runner-routes.ts';

export interface RunnerServerLimits {
  /** Bytes of a call's body. @default 10 MiB */
  readonly bodyBytes: number;
  /** Bytes of an answer. @default 64 MiB */
  readonly responseBytes: number;
  /** Bytes of all answers in hand; twice those of one at least, so that each has room when it is alone. @default 256 MiB */
  readonly answerMemory: number;
  /** Bytes of a request's headers: the caller's are among them, in base64. */
  readonly headerBytes: number;
  /** Milliseconds a request may take to arrive. @default 60000 */
  readonly requestMs: number;
  readonly connections: number;
  readonly log: RunnerLogLimits;
  /** Logs of ended runners that are kept, and for how many milliseconds. */
  readonly endedLogs: number;
  readonly endedLogMs: number;
}

export const defaultRunnerLimits: RunnerServerLimits = {
  bodyBytes: 10 * 1024 * 1024,
  responseBytes: 64 * 1024 * 1024,
  answerMemory: 256 * 1024 * 1024,
  headerBytes: runnerHeadBytes,
  requestMs: 60_000,
  connections: 2048,
  log: { lines: 1000, bytes: 256 * 1024, lineBytes: 8192 },
  endedLogs: 64,
  endedLogMs: 300_000,
};

export interface RunnerServerOptions {
  readonly perform: Supervisor['perform'];
  /** Secret of the installation (see `runnerToken`), or what gives the token of a runner. */
  readonly key: string | ((runnerId: string) => string);
  /** Where it listens. @default a free port, for this machine alone */
  readonly listen?: { readonly host?: string; readonly port: number };
  /** Address that callers are given, where they do not reach it by loopback. @default 127.0.0.1 and the port */
  readonly url?: string;
  /** Folder of this server's calls: one folder a runner in it, one a call in that. */
  readonly workRoot: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Registry;
  /** @default none */
  readonly tracer?: Tracer;
  readonly limits?: Partial<RunnerServerLimits>;
}

/** The routes of `contracts/runner.ts` for many runners, on one listener. */
export interface RunnerServer {
  start(): Promise<void>;
  /**
   * Opens a runner's routes. An id that is open already is the one there is.
   * @throws AppError `unavailable` before `start` and after `stop`, `invalid_input` for an id that cannot be part of a path
   */
  open(plan: RunnerPlan, parts: { readonly scripts: ScriptRunner }): { readonly url: string };
  /** Whether a call is in hand. */
  isBusy(runnerId: string): boolean;
  /** Takes no new call, lets the one in hand end within the time, then ends it. Its log stays for a while. Unknown ids are ignored. */
  close(runnerId: string, drainMs: number): Promise<void>;
  /** Closes all runners, then the listener. */
  stop(drainMs: number): Promise<void>;
}

/** What the routes share. */
export interface ServerState extends Required<
  Omit<RunnerServerOptions, 'metrics' | 'limits' | 'key' | 'listen' | 'url'>
> {
  readonly limits: RunnerServerLimits;
  readonly tokenOf: (runnerId: string) => string;
  readonly metrics: CallMetrics;
  readonly answers: ReturnType<typeof createAnswerMemory>;
  readonly remover: FolderRemover;
  readonly parseCall: (header: string | string[] | undefined) => RunnerCall;
  /** In the order of their opening; ended ones too, for their logs. */
  readonly runners: Map<string, HostedRunner>;
  url: string | undefined;
}

/** Milliseconds that answers get to be sent when the server stops. */
const lastAnswersMs = 2000;
const runnerIdForm = /^[A-Za-z0-9_-]{1,200}$/;

export function createRunnerServer(options: RunnerServerOptions): RunnerServer {
  const limits = { ...defaultRunnerLimits, ...options.limits };
  const { key } = options;
  const state: ServerState = {
    ...options,
    limits,
    tokenOf: typeof key === 'string' ? (runnerId) => runnerToken(key, runnerId) : key,
    answers: createAnswerMemory(Math.max(limits.answerMemory, 2 * limits.responseBytes)),
    remover: createFolderRemover(options),
    metrics: createCallMetrics(options.metrics),
    tracer: options.tracer ?? noTracer,
    parseCall: createCallParser(),
    runners: new Map(),
    url: undefined,
  };
  const server = createServer(
    {
      maxHeaderSize: state.limits.headerBytes,
      requestTimeout: state.limits.requestMs,
      headersTimeout: Math.min(10_000, state.limits.requestMs),
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 60_000,
    },
    (request, response) => serve(state, request, response),
  );
  server.maxConnections = state.limits.connections;
  return {
    start: async () => {
      const own = await listen(server, options.listen ?? { host: '127.0.0.1', port: 0 });
      state.url = options.url ?? own;
    },
    open: (plan, parts) => open(state, plan, parts.scripts),
    isBusy: (runnerId) => state.runners.get(runnerId)?.inHand !== undefined,
    close: async (runnerId, drainMs) => {
      const runner = state.runners.get(runnerId);
      if (runner !== undefined) await close(state, runner, drainMs);
    },
    stop: async (drainMs) => {
      state.url = undefined;
      await Promise.all([...state.runners.values()].map((runner) => close(state, runner, drainMs)));
      state.runners.clear();
      await closeListener(server, state.clock);
    },
  };
}

function serve(state: ServerState, request: IncomingMessage, response: ServerResponse): void {
  handleRequest(state, request, response).catch((error: unknown) => {
    state.log.error({ err: error }, 'request of a runner failed');
    response.destroy();
  });
}

function open(state: ServerState, plan: RunnerPlan, scripts: ScriptRunner): { readonly url: string } {
  const id = plan.runner_id;
  if (state.url === undefined) throw new AppError('unavailable', 'The runner server is not running.');
  if (!runnerIdForm.test(id)) {
    throw new AppError('invalid_input', 'A runner id has letters, digits, "_" and "-" only.', {
      field: 'runner_id',
    });
  }
  dropOldLogs(state);
  const url = `${state.url}/${id}`;
  const known = state.runners.get(id);
  if (known !== undefined && known.state !== 'ended') return { url };
  const log = createRunnerLog(state.clock, state.limits.log);
  const { clock, remover } = state;
  const folders = createCallFolders({ dir: join(state.workRoot, id), clock, remover });
  folders.tidy();
  state.runners.set(id, createHostedRunner(plan, { token: state.tokenOf(id), scripts, log, folders }));
  return { url };
}

async function close(state: ServerState, runner: HostedRunner, drainMs: number): Promise<void> {
  await drainRunner(runner, state.clock, drainMs);
  const { runner_id: id } = runner.plan;
  await state.remover.remove(join(state.workRoot, id), { runner: id });
  dropOldLogs(state);
}

function dropOldLogs({ runners, limits, clock }: ServerState): void {
  const ended = [...runners.values()].filter((runner) => runner.state === 'ended');
  ended.sort((a, b) => b.endedAt - a.endedAt);
  const oldest = clock.monotonic() - limits.endedLogMs;
  for (const [index, runner] of ended.entries()) {
    if (index >= limits.endedLogs || runner.endedAt < oldest) runners.delete(runner.plan.runner_id);
  }
}

async function listen(
  server: Server,
  at: { readonly host?: string; readonly port: number },
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(at, resolve);
  await promise;
  server.removeListener('error', reject);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers that were written are on their way: they get a moment. */
async function closeListener(server: Server, clock: Clock): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  const timer = new AbortController();
  await Promise.race([promise, clock.sleep(lastAnswersMs, timer.signal).catch(() => undefined)]);
  timer.abort();
  server.closeAllConnections();
  await promise;
}

import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';

const program = fileURLToPath(new URL('script-spawner.mjs', import.meta.url));

export interface SpawnRequest {
  readonly program: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** A FIFO that standard output and error go to; somebody has it open for reading. */
  readonly output: string;
}

export interface ScriptEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A script that was started. */
export interface SpawnedScript {
  readonly pid: number;
  /** When the script itself has ended; what it left in its group is the caller's to end. Rejects when the helper died. */
  readonly ended: Promise<ScriptEnd>;
}

/** Starts scripts through a small process of its own; see `script-spawner.mjs` for why. */
export interface ScriptSpawner {
  /** @throws AppError `unavailable` when no process can be started now, `invalid_input` when this one can't be */
  spawn(request: SpawnRequest): Promise<SpawnedScript>;
  /** Has the helper ready, and not let go while it is idle, until what this returns was called. */
  keep(): () => void;
  /** Kills all that runs. */
  stop(): Promise<void>;
}

interface Waiting {
  readonly started: PromiseWithResolvers<number>;
  readonly ended: PromiseWithResolvers<ScriptEnd>;
}

interface Helper {
  readonly child: ChildProcess;
  readonly scripts: Map<number, Waiting>;
  readonly gone: Promise<void>;
  /** Pings since it last answered. */
  unanswered: number;
}

/** So many pings without an answer, and the helper is told to go on, which does no harm to one that is only slow. */
const wakeAfter = 3;
/** So many, and it is killed: far more than a busy machine keeps it waiting. */
const killAfter = 30;
/** Milliseconds that the helper has to end by itself. */
const stopMs = 2000;

export interface ScriptSpawnerDeps {
  readonly clock: Clock;
  readonly log?: Logger | undefined;
  /** Milliseconds after which the helper process is let go while there is nothing to do. @default 10000 */
  readonly idleMs?: number;
  /** Milliseconds between two pings while scripts run. @default 1000 */
  readonly pingMs?: number | undefined;
}

interface SpawnerState {
  helper: Helper | undefined;
  nextId: number;
  idle: AbortController | undefined;
  idleSince: number;
  /** How many want the helper ready: it is not let go. */
  keepers: number;
}

export function createScriptSpawner(deps: ScriptSpawnerDeps): ScriptSpawner {
  const state: SpawnerState = { helper: undefined, nextId: 1, idle: undefined, idleSince: 0, keepers: 0 };

  const idleMs = deps.idleMs ?? 10_000;

  const watchIdle = (ms: number): void => {
    const idle = new AbortController();
    state.idle = idle;
    deps.clock.sleep(ms, idle.signal).then(
      () => {
        state.idle = undefined;
        const { helper } = state;
        if (helper === undefined || helper.scripts.size > 0 || state.keepers > 0) return;
        const left = state.idleSince + idleMs - deps.clock.monotonic();
        if (left > 0) {
          watchIdle(left);
          return;
        }
        state.helper = undefined;
        helper.child.stdin?.end();
      },
      () => undefined,
    );
  };

  const letGoWhenIdle = (helper: Helper): void => {
    if (helper.scripts.size > 0 || state.keepers > 0 || state.helper !== helper) return;
    state.idleSince = deps.clock.monotonic();
    // One timer for all scripts that end while it runs: a timer for each costs more than all the rest of starting them here.
    if (state.idle === undefined) watchIdle(idleMs);
  };

  const ready = (): Helper =>
    (state.helper ??= startHelper(deps, (ended) => {
      if (state.helper === ended) state.helper = undefined;
    }));

  return {
    keep: () => {
      state.keepers += 1;
      ready();
      let kept = true;
      return () => {
        if (!kept) return;
        kept = false;
        state.keepers -= 1;
        if (state.helper !== undefined) letGoWhenIdle(state.helper);
      };
    },
    spawn: async (request) => {
      const helper = ready();
      const id = state.nextId;
      state.nextId += 1;
      return start(helper, id, request, letGoWhenIdle);
    },
    stop: async () => {
      state.idle?.abort();
      const { helper } = state;
      state.helper = undefined;
      if (helper !== undefined) await letGo(helper, deps.clock);
    },
  };
}

async function start(
  helper: Helper,
  id: number,
  request: SpawnRequest,
  done: (helper: Helper) => void,
): Promise<SpawnedScript> {
  const waiting: Waiting = { started: Promise.withResolvers(), ended: Promise.withResolvers() };
  // Whoever started the script learns of its loss through `ended`; before that through `started`.
  waiting.ended.promise.catch(() => undefined);
  helper.scripts.set(id, waiting);
  helper.child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
  try {
    const pid = await waiting.started.promise;
    const ended = waiting.ended.promise.finally(() => {
      done(helper);
    });
    ended.catch(() => undefined);
    return { pid, ended };
  } catch (error) {
    helper.scripts.delete(id);
    done(helper);
    throw error;
  }
}

/** Ends the helper, also one that is stopped and hears nothing. */
async function letGo(helper: Helper, clock: Clock): Promise<void> {
  helper.child.stdin?.end();
  const patience = new AbortController();
  const kill = (): unknown => helper.child.kill('SIGKILL');
  clock.sleep(stopMs, patience.signal).then(kill, () => undefined);
  await helper.gone;
  patience.abort();
}

/**
 * Wakes a helper that a script has stopped, and kills one that does not answer all the same, since nothing would ever be
 * started or end again. Counts pings and not time: this process may have been stopped itself.
 */
async function watch(helper: Helper, deps: ScriptSpawnerDeps): Promise<void> {
  const ended = new AbortController();
  void helper.gone.then(() => {
    ended.abort();
  });
  while (!ended.signal.aborted) {
    await deps.clock.sleep(deps.pingMs ?? 1000, ended.signal).catch(() => undefined);
    if (helper.scripts.size === 0) continue;
    if (helper.unanswered >= wakeAfter) helper.child.kill('SIGCONT');
    if (helper.unanswered >= killAfter) {
      deps.log?.error({ scripts: helper.scripts.size }, 'script helper does not answer: it is killed');
      helper.child.kill('SIGKILL');
      return;
    }
    helper.unanswered += 1;
    helper.child.stdin?.write('{"ping":true}\n');
  }
}

function startHelper(deps: ScriptSpawnerDeps, onGone: (helper: Helper) => void): Helper {
  // Detached: a Ctrl-C at the terminal is for the server, which then ends its scripts in order.
  const child = spawn(process.execPath, ['--max-semi-space-size=1', '--max-old-space-size=64', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    env: {},
  });
  const scripts = new Map<number, Waiting>();
  const helper: Helper = { child, scripts, gone: goneOf(child), unanswered: 0 };
  const lose = (): void => {
    onGone(helper);
    // Another one takes its place: two must never live side by side.
    child.kill('SIGKILL');
    if (scripts.size === 0) return;
    deps.log?.error(
      { scripts: scripts.size, code: child.exitCode, signal: child.signalCode },
      'script helper ended',
    );
    const error = new AppError('unavailable', 'The process that starts scripts ended.');
    for (const waiting of scripts.values()) {
      waiting.started.reject(error);
      waiting.ended.reject(error);
    }
    scripts.clear();
  };
  // Before the pipes are touched: a helper that could not be started has none where descriptors are short.
  child.once('error', lose);
  child.once('close', lose);
  readLines(child, (line) => {
    helper.unanswered = 0;
    settle(scripts, line);
  });
  // A write to a helper that has just died fails; its end is what counts.
  child.stdin?.on('error', () => undefined);
  void watch(helper, deps);
  return helper;
}

/** Settles also for a helper that could not be started. */
async function goneOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('close', () => {
    resolve();
  });
  child.once('error', () => {
    if (child.pid === undefined) resolve();
  });
  return promise;
}

function readLines(child: ChildProcess, onLine: (line: string) => void): void {
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

interface HelperMessage {
  readonly id: number;
  readonly pid?: number;
  readonly error?: string;
  readonly code?: number | null;
  readonly signal?: NodeJS.Signals | null;
}

function settle(scripts: Map<number, Waiting>, line: string): void {
  const message = JSON.parse(line) as HelperMessage;
  const waiting = scripts.get(message.id);
  if (waiting === undefined) return;
  if (message.error !== undefined) waiting.started.reject(spawnError(message.error));
  else if (message.pid !== undefined) waiting.started.resolve(message.pid);
  else {
    scripts.delete(message.id);
    waiting.ended.resolve({ code: message.code ?? null, signal: message.signal ?? null });
  }
}

/** EAGAIN and ENOMEM are the machine's state of the moment; the rest is wrong with what was asked, and passed on as it is. */
function spawnError(code: string): Error {
  const details = { code };
  if (code === 'E2BIG') {
    const message = 'The environment of the script is larger than this system allows.';
    return new AppError('too_large', message, { details });
  }
  const message = `No process could be made for the script (${code}).`;
  if (!['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'EBADF', 'ENXIO'].includes(code)) {
    return Object.assign(new Error(message), { code });
  }
  return new AppError('unavailable', message, { details });
}

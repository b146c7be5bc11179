import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
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
}

/** @param deps.idleMs milliseconds after which the helper process is let go while there is nothing to do; @default 10000 */
export function createScriptSpawner(deps: {
  clock: Clock;
  log?: Logger | undefined;
  idleMs?: number;
}): ScriptSpawner {
  const state: { helper: Helper | undefined; nextId: number; idle: AbortController | undefined } = {
    helper: undefined,
    nextId: 1,
    idle: undefined,
  };

  const letGoWhenIdle = (helper: Helper): void => {
    if (helper.scripts.size > 0 || state.helper !== helper) return;
    state.idle?.abort();
    const idle = new AbortController();
    state.idle = idle;
    deps.clock.sleep(deps.idleMs ?? 10_000, idle.signal).then(
      () => {
        if (helper.scripts.size > 0 || state.helper !== helper) return;
        state.helper = undefined;
        helper.child.stdin?.end();
      },
      () => undefined,
    );
  };

  return {
    spawn: async (request) => {
      state.idle?.abort();
      const helper = (state.helper ??= startHelper(deps.log, (ended) => {
        if (state.helper === ended) state.helper = undefined;
      }));
      const id = state.nextId;
      state.nextId += 1;
      return start(helper, id, request, letGoWhenIdle);
    },
    stop: async () => {
      state.idle?.abort();
      const { helper } = state;
      state.helper = undefined;
      helper?.child.stdin?.end();
      await helper?.gone;
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

function startHelper(log: Logger | undefined, onGone: (helper: Helper) => void): Helper {
  // Detached: a Ctrl-C at the terminal is for the server, which then ends its scripts in order.
  const child = spawn(process.execPath, ['--max-semi-space-size=1', '--max-old-space-size=64', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    env: {},
  });
  const scripts = new Map<number, Waiting>();
  const helper: Helper = { child, scripts, gone: once(child, 'close').then(() => undefined) };
  readLines(child, (line) => {
    settle(scripts, line);
  });
  // A write to a helper that has just died fails; its end is what counts.
  child.stdin.on('error', () => undefined);
  const lose = (): void => {
    onGone(helper);
    if (scripts.size === 0) return;
    log?.error(
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
  child.once('error', lose);
  child.once('close', lose);
  return helper;
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

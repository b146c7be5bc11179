import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { AppError, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ScriptEnd, ScriptRequest, ScriptRunner } from '../ports.ts';
import { setAlarm } from './alarm.ts';
import { killMarked } from './leftovers.ts';
import { createOutputPipes, type OutputPipe, type OutputPipes } from './output-pipes.ts';
import { readPipe, type PipeReader } from './pipe-reader.ts';

export interface ChildProcessScriptsOptions {
  readonly clock: Clock;
  /** Folder of this runner alone, for the pipes that scripts print into. */
  readonly pipeDir: string;
  /** Milliseconds between SIGTERM and SIGKILL when a script is ended. @default 5000 */
  readonly graceMs?: number;
}

/** How long what a script printed last is waited for, where something it started holds its output open. */
const drainIdleMs = 200;
const drainTotalMs = 10_000;
/** Between two looks whether a group of processes is gone. */
const groupPollMs = 20;

interface Shared {
  readonly clock: Clock;
  readonly pipes: OutputPipes;
  readonly graceMs: number;
}

/**
 * Runs scripts as child processes of this one: `/bin/sh <path>` (OSCAR §7.5: first line and mode do not matter) as leader of a process group of its
 * own, nothing on standard input (OSCAR's supervisor has read the event from there), both outputs into one pipe. Ending one: SIGTERM to the group, a
 * time of grace, SIGKILL. When the script's own process has ended by itself, what is left of its group is killed at once; what left the group
 * is found by its environment when the script was ended or its output is still held open.
 */
export function createChildProcessScripts(options: ChildProcessScriptsOptions): ScriptRunner {
  const shared: Shared = {
    clock: options.clock,
    pipes: createOutputPipes(options.pipeDir),
    graceMs: options.graceMs ?? 5000,
  };
  return { run: async (request) => run(shared, request) };
}

async function run(shared: Shared, request: ScriptRequest): Promise<ScriptEnd> {
  if (request.signal.aborted) return { kind: 'cancelled' };
  const pipe = await shared.pipes.open();
  let reader: PipeReader | undefined;
  let ended = false;
  try {
    const { child, exited } = await start(request, pipe);
    reader = readPipe(pipe.readFd, shared.clock, request.onOutput);
    request.onStarted();
    const end = await supervise(shared, request, child, exited);
    ended = await drain(shared, request, reader, end);
    return end;
  } finally {
    // The reader closes its descriptor; without one that is left to do here.
    if (reader === undefined) closeSync(pipe.readFd);
    try {
      await reader?.close();
    } finally {
      shared.pipes.giveBack(pipe, ended);
    }
  }
}

type Exit = Extract<ScriptEnd, { kind: 'exited' | 'signalled' }>;

interface Running {
  readonly child: ChildProcess & { readonly pid: number };
  readonly exited: Promise<Exit>;
}

/** @throws AppError `unavailable`, `too_large` */
async function start(request: ScriptRequest, pipe: OutputPipe): Promise<Running> {
  const { promise: exited, resolve } = Promise.withResolvers<Exit>();
  const { promise: failed, resolve: fail } = Promise.withResolvers<Error>();
  let child: ChildProcess;
  try {
    child = spawn('/bin/sh', [request.scriptPath], {
      cwd: request.cwd,
      env: request.env,
      detached: true,
      stdio: ['ignore', pipe.writeFd, pipe.writeFd],
    });
  } catch (error) {
    throw notStarted(error);
  } finally {
    closeSync(pipe.writeFd);
  }
  child.once('exit', (exitCode, signal) => {
    resolve(
      exitCode === null ? { kind: 'signalled', signal: signal ?? 'unknown' } : { kind: 'exited', exitCode },
    );
  });
  // Without a process there is no `exit`; with one, an `error` says that a signal could not be sent, which we do otherwise.
  child.on('error', fail);
  if (!hasPid(child)) throw notStarted(await failed);
  return { child, exited };
}

function hasPid(child: ChildProcess): child is Running['child'] {
  return child.pid !== undefined;
}

function notStarted(error: unknown): unknown {
  const code = systemCode(error);
  if (code === 'E2BIG') {
    return new AppError('too_large', 'The environment of the script is larger than this system allows.', {
      cause: error,
    });
  }
  if (code === undefined || !['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'EBADF'].includes(code)) return error;
  return new AppError('unavailable', `No process could be made for the script (${code}).`, { cause: error });
}

/** Waits for the script's end, or brings it about. Afterwards nothing of its process group is left. */
async function supervise(
  shared: Shared,
  request: ScriptRequest,
  child: Running['child'],
  exited: Promise<Exit>,
): Promise<ScriptEnd> {
  const { promise: wanted, resolve: endIt } = Promise.withResolvers<'timed_out' | 'cancelled'>();
  const cancel = (): void => endIt('cancelled');
  const stopAlarm = setAlarm(request.timeoutMs, () => endIt('timed_out'));
  request.signal.addEventListener('abort', cancel, { once: true });
  if (request.signal.aborted) cancel();
  try {
    const first = await Promise.race([exited, wanted]);
    if (typeof first !== 'string') return first;
    await endGroup(shared, child.pid);
    return { kind: first };
  } finally {
    stopAlarm();
    request.signal.removeEventListener('abort', cancel);
    signalGroup(child.pid, 'SIGKILL');
    await exited;
  }
}

/** A shell dies of SIGTERM while the program it waits for still tidies up: the grace is for the group, not for its leader. */
async function endGroup(shared: Shared, group: number): Promise<void> {
  signalGroup(group, 'SIGTERM');
  const start = shared.clock.monotonic();
  while (signalGroup(group, 0) && shared.clock.monotonic() - start < shared.graceMs) {
    await shared.clock.sleep(groupPollMs);
  }
}

/** False when nobody is left in the group. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    const code = systemCode(error);
    // macOS answers EPERM for a group of which only dead processes are left.
    if (code === 'ESRCH' || code === 'EPERM') return false;
    throw error;
  }
}

/** Reads what the pipe still holds. True when nobody has it open any more. */
async function drain(
  shared: Shared,
  request: ScriptRequest,
  reader: PipeReader,
  end: ScriptEnd,
): Promise<boolean> {
  const forced = end.kind === 'timed_out' || end.kind === 'cancelled';
  if (forced) await killEscaped(shared, request);
  if (await reader.drain(drainIdleMs, drainTotalMs)) return true;
  if (!forced) await killEscaped(shared, request);
  return reader.drain(drainIdleMs, drainIdleMs);
}

/** Processes that left the group (`setsid`), by the attempt's name in their environment. */
async function killEscaped(shared: Shared, request: ScriptRequest): Promise<void> {
  const markers = ['SLUICE_INSTANCE', 'SLUICE_ATTEMPT'].flatMap((name) => {
    const value = request.env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
  if (markers.length === 2) await killMarked(markers, { clock: shared.clock });
}

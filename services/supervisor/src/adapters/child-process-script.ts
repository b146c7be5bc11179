import { closeSync } from 'node:fs';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { ScriptEnd, ScriptRequest, ScriptRunner } from '../ports.ts';
import { setAlarm } from './alarm.ts';
import { killMarked } from './leftovers.ts';
import { endGroup, signalGroup } from './process-group.ts';
import { createOutputPipes, type OutputPipe, type OutputPipes } from './output-pipes.ts';
import { readPipe, type PipeReader } from './pipe-reader.ts';
import { createScriptSpawner, type ScriptSpawner } from './script-spawner.ts';

export interface ChildProcessScriptsOptions {
  readonly clock: Clock;
  readonly log?: Logger;
  /** What runs scripts. @default '/bin/sh' */
  readonly shell?: string;
  /** Folder of this runner alone, for the pipes that scripts print into. */
  readonly pipeDir: string;
  /** Milliseconds between SIGTERM and SIGKILL when a script is ended. @default 5000 */
  readonly graceMs?: number;
}

export interface ChildProcessScripts extends ScriptRunner {
  /** For whoever is to be served at once (a warm runner): keeps the helper ready until what this returns was called. */
  keep(): () => void;
  /** Kills what still runs and lets the helper go. */
  stop(): Promise<void>;
}

/** How long what a script printed last is waited for, where something it started holds its output open. */
const drain = { idleMs: 200, readingMs: 1000, totalMs: 10_000 };

interface Shared {
  readonly clock: Clock;
  readonly spawner: ScriptSpawner;
  readonly shell: string;
  readonly pipes: OutputPipes;
  readonly graceMs: number;
}

/**
 * Runs scripts as child processes of a small helper: `/bin/sh <path>` (OSCAR §7.5: first line and mode do not matter) as leader of a process group of its
 * own, nothing on standard input (OSCAR's supervisor has read the event from there), both outputs into one pipe. Ending one: SIGTERM to the group, a
 * time of grace, SIGKILL. When the script's own process has ended by itself, what is left of its group is killed at once; what left the group
 * is found by its environment when the script was ended or its output is still held open.
 */
export function createChildProcessScripts(options: ChildProcessScriptsOptions): ChildProcessScripts {
  const shared: Shared = {
    clock: options.clock,
    spawner: createScriptSpawner({ clock: options.clock, log: options.log }),
    shell: options.shell ?? '/bin/sh',
    pipes: createOutputPipes(options.pipeDir),
    graceMs: options.graceMs ?? 5000,
  };
  return {
    run: async (request) => run(shared, request),
    keep: () => shared.spawner.keep(),
    stop: async () => shared.spawner.stop(),
  };
}

async function run(shared: Shared, request: ScriptRequest): Promise<ScriptEnd> {
  if (request.signal.aborted) return { kind: 'cancelled' };
  const pipe = await shared.pipes.open();
  let reader: PipeReader | undefined;
  let ended = false;
  try {
    const { pid, exited } = await start(shared, request, pipe);
    reader = readPipe(pipe.readFd, shared.clock, request.onOutput);
    request.onStarted();
    const end = await supervise(shared, request, pid, exited);
    ended = await drainPipe(shared, request, reader, end);
    return end;
  } catch (error) {
    // The helper went away, perhaps between starting the script and saying so.
    await killEscaped(shared, request);
    throw error;
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

/** @throws AppError `unavailable`, `too_large` */
async function start(
  shared: Shared,
  request: ScriptRequest,
  pipe: OutputPipe,
): Promise<{ readonly pid: number; readonly exited: Promise<Exit> }> {
  try {
    const { pid, ended } = await shared.spawner.spawn({
      program: shared.shell,
      args: [request.scriptPath],
      env: request.env,
      cwd: request.cwd,
      output: pipe.path,
    });
    const exited = ended.then(({ code, signal }): Exit =>
      code === null ? { kind: 'signalled', signal: signal ?? 'unknown' } : { kind: 'exited', exitCode: code },
    );
    return { pid, exited };
  } finally {
    // Held until the script has it open too: a pipe without a writer reads as ended.
    closeSync(pipe.writeFd);
  }
}

/** Waits for the script's end, or brings it about. Afterwards nothing of its process group is left. */
async function supervise(
  shared: Shared,
  request: ScriptRequest,
  pid: number,
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
    await endGroup(shared.clock, pid, shared.graceMs);
    return { kind: first };
  } finally {
    stopAlarm();
    request.signal.removeEventListener('abort', cancel);
    signalGroup(pid, 'SIGKILL');
    await exited;
  }
}

/** Reads what the pipe still holds. True when nobody has it open any more. */
async function drainPipe(
  shared: Shared,
  request: ScriptRequest,
  reader: PipeReader,
  end: ScriptEnd,
): Promise<boolean> {
  const forced = end.kind === 'timed_out' || end.kind === 'cancelled';
  if (forced) await killEscaped(shared, request);
  if (await reader.drain(drain)) return true;
  if (!forced) await killEscaped(shared, request);
  return reader.drain({ ...drain, readingMs: drain.idleMs });
}

/** Processes that left the group (`setsid`), by the attempt's name in their environment. */
async function killEscaped(shared: Shared, request: ScriptRequest): Promise<void> {
  const markers = ['SLUICE_INSTANCE', 'SLUICE_ATTEMPT'].flatMap((name) => {
    const value = request.env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
  if (markers.length === 2) await killMarked(markers, { clock: shared.clock });
}

import { closeSync, constants, existsSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { AppError, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { AttemptStop } from '../domain/attempt-stop.ts';
import { shellEnvironment } from '../domain/shell-environment.ts';
import type { ScriptEnd, ScriptRequest, ScriptRunner } from '../ports.ts';
import { setAlarm } from './alarm.ts';
import { openPodFolder, type PodFolder } from './pod-folder.ts';
import {
  isPipeHeld,
  makePodPipes,
  openPodPipe,
  readPodOutput,
  watchPodPipe,
  type PodOutput,
} from './pod-pipes.ts';

export interface PodScriptsOptions {
  /** See `podFolder`. */
  readonly folder: string;
  readonly clock: Clock;
  /** Milliseconds between SIGTERM to a script and the end of its container. @default 5000 */
  readonly graceMs?: number;
  /** Whether a script that runs when the pod is to end goes on until its request is aborted. @default false */
  readonly patient?: boolean;
}

/** Has scripts run by the shim in the pod's main container, one after the other. */
export interface PodScripts extends ScriptRunner {
  /** Whether an earlier supervisor of this pod has handed over its first script: `run` then goes on with that one. */
  readonly isResumed: boolean;
  /** How many supervisors this pod has had, this one included. */
  readonly starts: number;
  /** Whether the main container was asked to end, or has ended, by other than us. */
  lost(): 'asked' | 'gone' | undefined;
  /** Whether the main container was told to end, perhaps by an earlier supervisor. */
  isReleased(): boolean;
  /** Whether it takes no more scripts. */
  isSpent(): boolean;
  /** Lets the shim exit with this code: the main container ends. */
  release(code: number): void;
  /**
   * Resolves when the shim has ended, or when that takes too long. One that has not begun is waited for: a sidecar that ends before is started again, and the main container
   * not at all.
   */
  ended(signal: AbortSignal): Promise<void>;
  close(): void;
}

interface State {
  readonly options: PodScriptsOptions;
  readonly files: PodFolder;
  readonly resumed: number | undefined;
  readonly wakeFd: number;
  /** Called at each word of the shim. */
  readonly listeners: Set<() => void>;
  next: number;
  shimGone: boolean;
  spent: boolean;
}

const shortestMs = 1;
/** Milliseconds that the shim may take to see that it is released, and to begin where it has not. */
const endMs = 5000;
const beginMs = 600_000;

/** @throws AppError `unavailable` */
export async function openPodScripts(options: PodScriptsOptions): Promise<PodScripts> {
  const { folder } = options;
  await makePodPipes(folder);
  const files = openPodFolder(folder);
  const starts = files.countStart();
  if (options.patient === true) files.write('patient', '\n');
  const begun = files.begunAt(1);
  const state: State = {
    options,
    files,
    resumed: begun === undefined ? undefined : options.clock.now() - begun,
    wakeFd: openPodPipe(folder, 'wake', constants.O_RDWR),
    listeners: new Set(),
    next: 1,
    // One that has been there and has nothing open any more is gone.
    shimGone: files.has('ready') && !isPipeHeld(folder, 'shim'),
    spent: files.has('release'),
  };
  const tell = (): void => {
    for (const listener of state.listeners) listener();
  };
  const fd = openPodPipe(folder, 'done', constants.O_RDWR);
  const done = new Socket({ fd, readable: true, writable: false });
  done.on('data', tell).on('error', () => undefined);
  const unwatch = watchPodPipe(folder, 'shim', () => {
    state.shimGone = true;
    tell();
  });
  // For a word that an earlier supervisor wrote and could not say.
  wake(state);
  return {
    isResumed: begun !== undefined,
    starts,
    run: async (request) => run(state, request),
    lost: () => {
      if (files.has('term')) return 'asked';
      return state.shimGone && !files.has('release') ? 'gone' : undefined;
    },
    isReleased: () => files.has('release'),
    isSpent: () => state.spent || state.shimGone || files.has('term'),
    release: (code) => release(state, code),
    ended: async (signal) => {
      const look = (): true | undefined => state.shimGone || signal.aborted || undefined;
      await waitFor(state, look, files.has('ready') ? endMs : beginMs, signal);
    },
    close: () => {
      if (done.destroyed) return;
      done.destroy();
      unwatch();
      closeSync(state.wakeFd);
    },
  };
}

async function run(state: State, request: ScriptRequest): Promise<ScriptEnd> {
  const { folder } = state.options;
  if (!(await isThere(state, request.signal))) return { kind: 'cancelled' };
  const number = state.next;
  state.next += 1;
  const going = number === 1 && state.resumed !== undefined;
  const watch = { gone: going && state.files.isStarted(number) && !isPipeHeld(folder, 'script') };
  const unwatch = watchPodPipe(folder, 'script', () => {
    watch.gone = true;
    for (const listener of state.listeners) listener();
  });
  const output = readPodOutput(folder, request.onOutput);
  try {
    request.onStarted();
    if (!going) handOver(state, number, request);
    return await supervise(state, { number, request, watch, output });
  } finally {
    output.close();
    unwatch();
  }
}

/** The time-out runs from the script's start, so the shim is waited for before: the image may take its time to come. */
async function isThere(state: State, signal: AbortSignal): Promise<boolean> {
  const { files } = state;
  const found = await waitFor(
    state,
    () => {
      if (signal.aborted || files.has('term')) return 'unwanted';
      if (state.shimGone || state.spent) return 'gone';
      return files.has('ready') ? 'ready' : undefined;
    },
    undefined,
    signal,
  );
  if (found === 'gone') throw new AppError('unavailable', 'the main container of the pod has ended');
  return found === 'ready';
}

function handOver(state: State, number: number, request: ScriptRequest): void {
  const { text, leftOut } = shellEnvironment(request.cwd, request.env);
  if (leftOut.length > 0) {
    request.onNote?.(`${leftOut.length} variables have names that a shell cannot hand on and are left out`);
  }
  try {
    state.files.begin(number, { path: request.scriptPath, env: text, cwd: request.cwd });
  } catch (error) {
    if (!['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
    state.spent = true;
    throw new AppError('unavailable', 'an earlier script has tampered with the folder of the pod', {
      cause: error,
    });
  }
  wake(state);
}

interface Begun {
  readonly number: number;
  readonly request: ScriptRequest;
  readonly watch: { readonly gone: boolean };
  readonly output: PodOutput;
}

async function supervise(state: State, begun: Begun): Promise<ScriptEnd> {
  const { number, request, watch, output } = begun;
  const { files } = state;
  let wanted: 'timed_out' | 'cancelled' | undefined;
  const end = (kind: 'timed_out' | 'cancelled') => (): void => {
    wanted ??= kind;
    for (const listener of state.listeners) listener();
  };
  const cancel = end('cancelled');
  const elapsed = number === 1 ? (state.resumed ?? 0) : 0;
  const stopAlarm = setAlarm(Math.max(shortestMs, request.timeoutMs - elapsed), end('timed_out'));
  request.signal.addEventListener('abort', cancel, { once: true });
  if (request.signal.aborted) cancel();
  const isAsked = (): boolean => state.options.patient !== true && files.has('term');
  const isOver = (): boolean => files.exitCode(number) !== undefined || watch.gone || state.shimGone;
  try {
    await waitFor(state, () => isOver() || isAsked() || wanted !== undefined || undefined);
    const over = isOver();
    const asked = isAsked() ? 'cancelled' : undefined;
    // Decided before the script is told: it may have ended by then, and that was our doing.
    const forced = over ? asked : (asked ?? wanted);
    if (!over && wanted !== undefined) {
      files.write('kill', '\n');
      wake(state);
    }
    if (forced !== undefined) state.spent = true;
    if (
      !isOver() &&
      (await waitFor(state, () => isOver() || undefined, state.options.graceMs ?? 5000)) !== true
    ) {
      release(state, 137);
    }
    await output.drain();
    return forced === undefined ? endOf(state, number, request) : { kind: forced };
  } finally {
    stopAlarm();
    request.signal.removeEventListener('abort', cancel);
  }
}

function endOf(state: State, number: number, { container }: ScriptRequest): ScriptEnd {
  const exitCode = state.files.exitCode(number);
  if (exitCode !== undefined && exitCode !== 0 && state.files.isOutOfMemory(number))
    return { kind: 'out_of_memory', exitCode, limit: container?.memoryText ?? 'its limit' };
  if (exitCode !== undefined) return { kind: 'exited', exitCode };
  state.spent = true;
  if (state.shimGone)
    throw new AppError('unavailable', 'the main container of the pod ended while the script ran');
  if (!existsSync(`${state.options.folder}/${number}`)) {
    throw new AttemptStop(
      'script_killed',
      `the script removed what its container shares with the supervisor (${state.options.folder})`,
    );
  }
  // Whoever waited for the script was killed, as by `kill -9 -1`.
  return { kind: 'signalled', signal: 'SIGKILL' };
}

function release(state: State, code: number): void {
  state.spent = true;
  state.files.write('release', `${code}\n`);
  wake(state);
}

function wake(state: State): void {
  try {
    writeSync(state.wakeFd, '\n');
  } catch (error) {
    // Full of words that nobody has read: one more says nothing new.
    if (systemCode(error) !== 'EAGAIN') throw error;
  }
}

/** Looks at each word of the shim until there is something to see; undefined when that took too long. */
async function waitFor<T>(
  state: State,
  look: () => T | undefined,
  forMs?: number,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<T | undefined>();
  const check = (): void => {
    const seen = look();
    if (seen !== undefined) resolve(seen);
  };
  state.listeners.add(check);
  signal?.addEventListener('abort', check);
  const stopAlarm = forMs === undefined ? undefined : setAlarm(forMs, () => resolve(undefined));
  try {
    check();
    return await promise;
  } finally {
    stopAlarm?.();
    state.listeners.delete(check);
    signal?.removeEventListener('abort', check);
  }
}

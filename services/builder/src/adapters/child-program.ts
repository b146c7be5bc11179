import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { messageOf, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { buildError } from '../domain/build-failure.ts';

export interface ProgramRequest {
  readonly program: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly timeoutMs: number;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  readonly signal: AbortSignal;
  /** UTF-16 units; what is longer is left out. */
  readonly maxLine: number;
  /** Lines of standard error, one at a time: while it is busy nothing is read, and the program waits. */
  readonly onLine: (line: string) => Promise<void>;
  /** After the last line, unless nobody waits for it any more. */
  readonly onEnd?: () => Promise<void>;
}

export type ProgramEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'timed_out' }
  | { readonly kind: 'cancelled' };

type Exit = Extract<ProgramEnd, { readonly kind: 'exited' | 'signalled' }>;
type Wanted = 'timed_out' | 'cancelled' | 'broken';

/** First and longest wait between two looks whether a group is gone, milliseconds. */
const [firstLookMs, longestLookMs] = [10, 250];
/** The longest that a timer can wait. */
const longestMs = 2 ** 31 - 1;

/**
 * Runs a program in a process group of its own, without a shell. At its end nothing of the group is left.
 * @throws what `onLine` throws, after the program was ended; AppError `unavailable` where it cannot be started
 */
export async function runProgram(clock: Clock, request: ProgramRequest): Promise<ProgramEnd> {
  if (request.signal.aborted) return { kind: 'cancelled' };
  const { child, pid, exited } = await start(request);
  const { promise: wanted, resolve: endIt } = Promise.withResolvers<Wanted>();
  const over = new AbortController();
  const cancel = (): void => endIt('cancelled');
  request.signal.addEventListener('abort', cancel, { once: true });
  if (request.signal.aborted) cancel();
  clock.sleep(Math.min(request.timeoutMs, longestMs), over.signal).then(
    () => endIt('timed_out'),
    () => undefined,
  );
  const ignoring = new AbortController();
  const broken: { error?: unknown } = {};
  const reading = readLines(child.stderr, request, ignoring.signal).catch((error: unknown) => {
    broken.error = error;
    endIt('broken');
  });
  try {
    const first = await Promise.race([exited, wanted]);
    // What it said is read to the end, unless nobody waits for it any more.
    const end = typeof first === 'string' ? first : await Promise.race([reading.then(() => first), wanted]);
    ignoring.abort();
    if ('error' in broken) throw broken.error;
    if (typeof end !== 'string') return end;
    if (typeof first === 'string') await endGroup(clock, pid, request.graceMs);
    return typeof first === 'string' && end !== 'broken' ? { kind: end } : await exited;
  } finally {
    ignoring.abort();
    over.abort();
    request.signal.removeEventListener('abort', cancel);
    signalGroup(pid, 'SIGKILL');
    await exited;
    await reading;
  }
}

interface Started {
  readonly child: ChildProcessByStdio<null, null, Readable>;
  readonly pid: number;
  readonly exited: Promise<Exit>;
}

async function start(request: ProgramRequest): Promise<Started> {
  try {
    const child = spawnIt(request);
    const exited = exitOf(child);
    if (child.pid !== undefined) return { child, pid: child.pid, exited };
    await exited;
    throw new Error('a program without a process ended');
  } catch (error) {
    const fix = systemCode(error) === 'ENOENT' ? 'install it, or put its folder into PATH' : messageOf(error);
    const message = `The program ${request.program} cannot be started: ${fix}.`;
    throw buildError('unavailable', 'builder_unavailable', message, error);
  }
}

function spawnIt({ program, args, env, cwd }: ProgramRequest): ChildProcessByStdio<null, null, Readable> {
  return spawn(program, args, { env, cwd, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
}

async function exitOf(child: ChildProcess): Promise<Exit> {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>();
  child.once('error', (error) => {
    // Of one that runs it is only said that a signal could not be sent.
    if (child.pid === undefined) reject(error);
  });
  child.once('exit', (code, signal) => {
    resolve(code === null ? { kind: 'signalled', signal: signal ?? 'unknown' } : { kind: 'exited', code });
  });
  return promise;
}

async function readLines(
  stream: Readable,
  { onLine, onEnd, maxLine }: ProgramRequest,
  ignore: AbortSignal,
): Promise<void> {
  const { promise: ignored, resolve } = Promise.withResolvers<void>();
  ignore.addEventListener('abort', () => resolve(), { once: true });
  const deliver = async (lines: readonly string[]): Promise<void> => {
    for (const line of lines) {
      if (ignore.aborted) return;
      if (line !== '') await onLine(line);
    }
  };
  const decoder = new TextDecoder();
  let rest = '';
  let isTooLong = false;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    // Read on all the same: a program that cannot write does not end.
    if (ignore.aborted) continue;
    const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
    rest = lines.pop() ?? '';
    if (isTooLong && lines.length > 0) {
      lines.shift();
      isTooLong = false;
    }
    if (rest.length > maxLine) [rest, isTooLong] = ['', true];
    const delivered = deliver(lines.filter((line) => line.length <= maxLine));
    delivered.catch(() => undefined);
    await Promise.race([delivered, ignored]);
  }
  const finish = async (): Promise<void> => {
    await deliver(isTooLong ? [] : [rest]);
    if (!ignore.aborted) await onEnd?.();
  };
  const finished = finish();
  finished.catch(() => undefined);
  await Promise.race([finished, ignored]);
}

async function endGroup(clock: Clock, group: number, graceMs: number): Promise<void> {
  signalGroup(group, 'SIGTERM');
  const start = clock.monotonic();
  for (let wait = firstLookMs; signalGroup(group, 0); wait = Math.min(wait * 2, longestLookMs)) {
    const left = graceMs - (clock.monotonic() - start);
    if (left <= 0) break;
    await clock.sleep(Math.min(wait, left));
  }
  signalGroup(group, 'SIGKILL');
}

/** False when there is nobody in the group. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ESRCH' || code === 'EPERM') return false;
    throw error;
  }
}

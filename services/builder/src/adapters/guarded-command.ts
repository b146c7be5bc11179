import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';

/** A program and its arguments; no shell reads them. */
export type Command = readonly [string, ...string[]];

export interface GuardedCommandOptions {
  /** All that the command sees of the environment: nothing secret of ours. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Of its standard output. */
  readonly onLine?: (line: string) => void;
  /** What it does, for messages: `make the registry read-only`. */
  readonly purpose: string;
}

/**
 * Stands between us and the command, so that the command ends when we are killed or stand still: it must not collect a registry which somebody else makes
 * writable meanwhile. A life sign comes every second; the end of the pipe is our end. The command has a process group of its own, all of which is ended.
 */
const guard = `
const { spawn } = require('node:child_process');
const [program, ...args] = process.argv.slice(1);
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
let heard = performance.now();
let isEnding = false;
const kill = (signal) => { try { process.kill(-child.pid, signal); } catch {} };
const end = () => {
  if (isEnding || child.pid === undefined) return;
  isEnding = true;
  kill('SIGTERM');
  setTimeout(() => kill('SIGKILL'), 2000);
};
child.on('error', (error) => { console.error(program + ': ' + error.code); process.exit(127); });
child.on('exit', (code, signal) => { if (isEnding) kill('SIGKILL'); process.exit(signal === null ? code : 128); });
process.stdin.on('data', () => { heard = performance.now(); }).on('end', end).on('error', end);
process.on('SIGTERM', end).on('SIGINT', end);
setInterval(() => { if (performance.now() - heard > 10000) end(); }, 1000);
`;

const lifeSignMs = 1000;
const maxLine = 4096;
const maxError = 500;
/** What a command that is over has written arrives within this; a program that it left running may hold the pipe for ever. */
const outputMs = 1000;

/**
 * Runs an administrator's command to its end.
 * @throws AppError `unavailable` with the last line of its standard error where it fails; when the signal is aborted, after it has ended
 */
export async function runGuarded(
  command: Command,
  options: GuardedCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const child = spawn(process.execPath, ['-e', guard, '--', ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...options.env },
    // A signal for our process group is not meant for the guard: it acts when the pipe ends.
    detached: true,
  });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const closed = once(child, 'close');
  const over = new AbortController();
  const abort = (): void => void child.stdin.end();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const lastError = listen(child, options.onLine);
    void showLife(child.stdin, options.clock, over.signal);
    const [code] = await ended;
    await Promise.race([closed, options.clock.sleep(outputMs, over.signal)]);
    signal.throwIfAborted();
    if (code !== 0) throw failure(command, options.purpose, code, lastError());
  } catch (error) {
    if (signal.aborted) throw aborted(options.purpose, signal);
    throw error;
  } finally {
    over.abort();
    closed.catch(() => undefined);
    signal.removeEventListener('abort', abort);
    child.stdin.destroy();
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** @returns gives the last line of the standard error */
function listen(child: Child, onLine: ((line: string) => void) | undefined): () => string {
  let last = '';
  const out = createInterface({ input: child.stdout, crlfDelay: Infinity });
  out.on('line', (line) => onLine?.(line.slice(0, maxLine)));
  const errors = createInterface({ input: child.stderr, crlfDelay: Infinity });
  errors.on('line', (line) => {
    if (line.trim() !== '') last = line.trim().slice(0, maxError);
  });
  // The guard may be gone before it has read.
  child.stdin.on('error', () => undefined);
  return () => last;
}

async function showLife(pipe: Writable, clock: Clock, over: AbortSignal): Promise<void> {
  while (!over.aborted && pipe.writable) {
    pipe.write('.');
    await clock.sleep(lifeSignMs, over).catch(() => undefined);
  }
}

function failure(command: Command, purpose: string, code: number | null, lastError: string): AppError {
  const how = code === null ? 'was killed' : `ended with ${code}`;
  const said = lastError === '' ? '' : `: ${lastError}`;
  // Its arguments may hold a password.
  return new AppError('unavailable', `The command that is to ${purpose} (${command[0]}) ${how}${said}`);
}

function aborted(purpose: string, signal: AbortSignal): AppError {
  const reason: unknown = signal.reason;
  const isLate = reason instanceof Error && reason.name === 'TimeoutError';
  const why = isLate ? 'took too long' : `was broken off (${messageOf(reason)})`;
  return new AppError('unavailable', `The command that is to ${purpose} ${why}.`, { cause: reason });
}

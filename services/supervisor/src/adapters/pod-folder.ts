import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { AppError, systemCode } from '@sluice/shared/errors';

/** Bytes of a file that the shim writes. */
const maxWord = 64;

/** The files of `contracts/pod-shim.ts`. A script may have put anything in their place: no link is followed, nothing blocks, nothing large is read. */
export interface PodFolder {
  has(name: 'ready' | 'term' | 'kill' | 'release'): boolean;
  /** Milliseconds, in the machine's clock, when script `number` was handed over; undefined when it was not. */
  begunAt(number: number): number | undefined;
  isStarted(number: number): boolean;
  /** Whether the kernel killed something of it for want of memory. */
  isOutOfMemory(number: number): boolean;
  /** The exit code that the shim wrote, all of it. */
  exitCode(number: number): number | undefined;
  /** Hands a script over: from here on it may run. */
  begin(number: number, script: { readonly path: string; readonly env: string; readonly cwd: string }): void;
  write(name: 'kill' | 'release' | 'patient', text: string): void;
  /** Counts one supervisor more. @returns how many there were, this one included */
  countStart(): number;
}

export function openPodFolder(folder: string): PodFolder {
  return {
    has: (name) => lstatSync(join(folder, name), { throwIfNoEntry: false })?.isFile() === true,
    begunAt: (number) => {
      const stats = lstatSync(join(folder, String(number)), { throwIfNoEntry: false });
      return stats?.isDirectory() === true ? stats.birthtimeMs || stats.mtimeMs : undefined;
    },
    isStarted: (number) => readWord(join(folder, String(number), 'started')) !== undefined,
    exitCode: (number) => {
      const [, code] =
        /^exit (\d{1,3}) end\n$/.exec(readWord(join(folder, String(number), 'exit')) ?? '') ?? [];
      return code === undefined ? undefined : Number(code);
    },
    isOutOfMemory: (number) => readWord(join(folder, String(number), 'oom')) !== undefined,
    begin: (number, { path, env, cwd }) => {
      const fresh = join(folder, `.next-${randomUUID()}`);
      mkdirSync(fresh);
      writeFileSync(join(fresh, 'script'), readOwn(path), { flag: 'wx', mode: 0o644 });
      writeFileSync(join(fresh, 'env'), env, { flag: 'wx', mode: 0o644 });
      writeFileSync(join(fresh, 'work'), `${cwd}\n`, { flag: 'wx', mode: 0o644 });
      // The image's user may be another than the supervisor's.
      for (const dir of [fresh, cwd, join(cwd, 'input'), join(cwd, 'output')]) open(dir);
      renameSync(fresh, join(folder, String(number)));
    },
    write: (name, text) => {
      const fresh = join(folder, `.word-${randomUUID()}`);
      writeFileSync(fresh, text, { flag: 'wx', mode: 0o644 });
      renameSync(fresh, join(folder, name));
    },
    countStart: () => countStart(join(folder, 'starts')),
  };
}

/**
 * What is handed over is read again from the shared folder, where an image may have put a link meanwhile: to what only the supervisor can read.
 * @throws AppError `unavailable`
 */
function readOwn(path: string): Buffer {
  const tampered = (cause?: unknown): AppError =>
    new AppError('unavailable', 'something in the container has tampered with the folder of the pod', {
      cause,
    });
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    throw tampered(error);
  }
  try {
    // The folders on the way are looked at by what was opened in the end.
    if (!fstatSync(fd).isFile() || readlinkSync(`/proc/self/fd/${fd}`) !== path) throw tampered();
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function countStart(path: string): number {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644);
  } catch {
    // Something that a script put there.
    return 1;
  }
  try {
    if (!fstatSync(fd).isFile()) return 1;
    writeSync(fd, '.');
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}

function open(dir: string): void {
  try {
    chmodSync(dir, 0o777);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function readWord(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    // Not there yet, or something that is none of the shim's.
    return undefined;
  }
  try {
    if (!fstatSync(fd).isFile()) return undefined;
    const buffer = Buffer.alloc(maxWord);
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, maxWord, 0));
  } finally {
    closeSync(fd);
  }
}

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { AppError, systemCode } from '@sluice/shared/errors';
import { removeTree } from '../files/remove-tree.ts';

const names = ['wake', 'done', 'out', 'shim', 'script'] as const;
export type PodPipe = (typeof names)[number];

/** Bytes that are read of a pipe after the script's end: what fits into one, whatever something that was left goes on printing. */
const drainBytes = 2 * 1024 * 1024;

/** Makes the pipes of `contracts/pod-shim.ts`, or finds them there. @throws AppError `unavailable` */
export async function makePodPipes(folder: string): Promise<void> {
  const dir = join(folder, 'pipes');
  if (existsSync(dir)) return;
  const fresh = join(folder, '.pipes');
  try {
    await removeTree(fresh);
    mkdirSync(fresh);
    // Readable and writable by whatever user the image has: what is in the folder is this pod's alone.
    execFileSync('mkfifo', ['-m', '666', ...names.map((name) => join(fresh, name))]);
    renameSync(fresh, dir);
  } catch (error) {
    throw new AppError('unavailable', 'The pipes of the pod cannot be made.', { cause: error });
  }
}

/** Opens one, sure to be a pipe. @throws AppError `unavailable` where a script put something else there */
export function openPodPipe(folder: string, name: PodPipe, access: number): number {
  let fd: number;
  try {
    fd = openSync(join(folder, 'pipes', name), access | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    throw notOurs(name, error);
  }
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw notOurs(name, undefined);
}

function notOurs(name: string, cause: unknown): AppError {
  return new AppError('unavailable', `The pipe "${name}" of the pod is not there any more.`, { cause });
}

/** Calls back when all that had the pipe open for writing are gone. @returns stops watching */
export function watchPodPipe(folder: string, name: PodPipe, onGone: () => void): () => void {
  // A pipe that nobody has opened yet reads as ended, but is not reported as such: only one whose writers have left is.
  const fd = openPodPipe(folder, name, constants.O_RDONLY);
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.once('end', onGone);
  socket.once('error', onGone);
  socket.resume();
  return () => socket.destroy();
}

/** Whether anybody has it open for writing. */
export function isPipeHeld(folder: string, name: PodPipe): boolean {
  const fd = openPodPipe(folder, name, constants.O_RDONLY);
  try {
    return readSync(fd, Buffer.alloc(1), 0, 1, null) !== 0;
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return true;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Reads what a script prints, one piece at a time. */
export interface PodOutput {
  /** Gives on what is in the pipe at this moment. */
  drain(): Promise<void>;
  close(): void;
}

/** @param consume must not reject; the next piece comes when its promise is resolved, and a full pipe makes the script wait */
export function readPodOutput(folder: string, consume: (chunk: Uint8Array) => Promise<void>): PodOutput {
  const fd = openPodPipe(folder, 'out', constants.O_RDWR);
  const socket = new Socket({
    fd: openPodPipe(folder, 'out', constants.O_RDWR),
    readable: true,
    writable: false,
  });
  let pumping: Promise<void> | undefined;
  const pump = async (): Promise<void> => {
    for (let chunk = nextOf(socket); chunk !== null; chunk = nextOf(socket)) await consume(chunk);
  };
  const pumpOnce = async (): Promise<void> =>
    (pumping ??= pump().finally(() => {
      pumping = undefined;
    }));
  socket.on('readable', () => void pumpOnce());
  socket.on('error', () => undefined);
  return {
    drain: async () => {
      for (let left = drainBytes; left > 0;) {
        // What the stream holds came before what the pipe holds, and nothing moves between the two within one turn.
        await pumpOnce();
        if (socket.readableLength > 0) continue;
        const chunk = readNow(fd);
        if (chunk === undefined) return;
        left -= chunk.length;
        await consume(chunk);
      }
    },
    close: () => {
      socket.destroy();
      closeSync(fd);
    },
  };
}

function nextOf(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}

function readNow(fd: number): Buffer | undefined {
  const buffer = Buffer.allocUnsafe(65_536);
  try {
    const count = readSync(fd, buffer, 0, buffer.length, null);
    return count === 0 ? undefined : buffer.subarray(0, count);
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return undefined;
    throw error;
  }
}

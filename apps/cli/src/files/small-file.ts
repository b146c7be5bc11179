import { closeSync, constants, fstatSync, openSync, readSync, createReadStream, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { systemCode } from '../cli-error.ts';

/** A named pipe is opened without waiting for its other end: no signal gets through to a process that waits in `open`. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK;

export interface SmallFile {
  readonly text: string;
  readonly stats: Stats;
}

/**
 * A regular file, in one go.
 * @throws the system's error, or an Error that says what it is instead
 */
export function readRegularFile(file: string, maxBytes: number): SmallFile {
  return reading(file, (descriptor, stats) => {
    if (!stats.isFile()) throw new Error('it is not a regular file');
    return { text: readAll(descriptor, maxBytes, undefined), stats };
  });
}

/** The same, of a pipe as well (`<(…)`), whose writer gets this long from one piece to the next. */
export function readFileOrPipe(file: string, maxBytes: number, patienceMs: number): string {
  return reading(file, (descriptor, stats) => {
    if (!stats.isFile() && !stats.isFIFO()) throw new Error('it is neither a regular file nor a pipe');
    const text = readAll(descriptor, maxBytes, patienceMs);
    if (text === '' && stats.isFIFO()) throw new Error('nothing came out of the pipe');
    return text;
  });
}

function reading<T>(file: string, read: (descriptor: number, stats: Stats) => T): T {
  const descriptor = openSync(file, openFlags);
  try {
    return read(descriptor, fstatSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

const pauseMs = 20;

function readAll(descriptor: number, maxBytes: number, patienceMs = 0): string {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const chunks: Buffer[] = [];
  let size = 0;
  for (let waited = 0; ;) {
    const chunk = readSome(descriptor);
    if (chunk === undefined) {
      if (waited >= patienceMs) throw new Error(`nothing came out of the pipe for ${patienceMs / 1000} s`);
      Atomics.wait(pause, 0, 0, pauseMs);
      waited += pauseMs;
      continue;
    }
    if (chunk.length === 0) return Buffer.concat(chunks).toString('utf8');
    waited = 0;
    size += chunk.length;
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
}

/** Empty at the end, undefined where nothing is there yet. */
function readSome(descriptor: number): Buffer | undefined {
  const buffer = Buffer.alloc(16 * 1024);
  try {
    return buffer.subarray(0, readSync(descriptor, buffer));
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return undefined;
    throw error;
  }
}

/**
 * What a path leads to as a stream that can be given up at any time: a pipe is waited for by the event loop and not by a thread, which could
 * not be ended.
 * @throws the system's error
 */
export function openStream(file: string): Readable {
  const descriptor = openSync(file, openFlags);
  try {
    return fstatSync(descriptor).isFIFO()
      ? new Socket({ fd: descriptor, readable: true, writable: false })
      : createReadStream(file, { fd: descriptor });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

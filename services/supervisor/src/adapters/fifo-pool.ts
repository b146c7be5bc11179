import { execFile } from 'node:child_process';
import { close, constants, open } from 'node:fs';
import { mkdir, rm, unlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '@sluice/shared/errors';

const batch = 8;

/** One pipe with a name: its writer is opened by path in another process, its reader here. */
export interface Fifo {
  readonly path: string;
  /** Starts reading; call it once a writer is known to have it open, since a FIFO without a writer reads as ended. */
  read(): Socket;
  /** Ready for the next script; only after its reader saw the end, else an old writer could still speak into it. */
  recycle(): Promise<void>;
  /** Closes the reader and removes the name. */
  discard(): Promise<void>;
}

/** Real pipes, as Node can't make them: its own are sockets, on which a script's `> /dev/stderr` fails. */
export interface FifoPool {
  take(): Promise<Fifo>;
  close(): Promise<void>;
}

/** @param folder made when it is missing and emptied; for this process alone */
export function createFifoPool(folder: string): FifoPool {
  const free: string[] = [];
  let made = 0;
  let ready: Promise<void> | undefined;
  let filling: Promise<void> | undefined;

  const prepare = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
  };
  const fill = async (): Promise<void> => {
    const paths = Array.from({ length: batch }, () => join(folder, `${(made += 1)}`));
    try {
      await promisify(execFile)('mkfifo', ['-m', '600', ...paths], { timeout: 10_000 });
    } catch (error) {
      throw new AppError('unavailable', 'mkfifo failed: scripts cannot be given an output pipe.', {
        cause: error,
      });
    }
    free.push(...paths);
  };

  return {
    take: async () => {
      ready ??= prepare();
      await ready;
      while (free.length === 0) {
        filling ??= fill().finally(() => {
          filling = undefined;
        });
        await filling;
      }
      return openFifo(free.pop() ?? '', (path) => {
        free.push(path);
      });
    },
    close: async () => {
      await filling?.catch(() => undefined);
      await rm(folder, { recursive: true, force: true });
      free.length = 0;
      ready = undefined;
    },
  };
}

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

async function openFifo(path: string, giveBack: (path: string) => void): Promise<Fifo> {
  const descriptor = await openDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let socket: Socket | undefined;
  // The socket owns the descriptor once there is one; closing a number twice would close somebody else's file.
  const closeReader = async (): Promise<void> => {
    if (socket === undefined) await closeDescriptor(descriptor);
    else if (!socket.closed) await destroyed(socket);
  };
  return {
    path,
    read: () => {
      socket = new Socket({ fd: descriptor, readable: true, writable: false });
      return socket;
    },
    recycle: async () => {
      await closeReader();
      giveBack(path);
    },
    discard: async () => {
      await closeReader();
      await unlink(path).catch(() => undefined);
    },
  };
}

async function destroyed(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('close', () => {
    resolve();
  });
  socket.destroy();
  await promise;
}

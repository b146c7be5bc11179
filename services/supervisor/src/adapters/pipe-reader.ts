import { Socket } from 'node:net';
import type { Clock } from '@sluice/shared/lifecycle';

/** How long the end of a pipe is waited for, where something that outlived the script may hold it open. Milliseconds. */
export interface DrainLimits {
  /** Without anything to read. */
  readonly idleMs: number;
  /** Of reading: what the script itself left in the pipe is read in a moment. */
  readonly readingMs: number;
  /** In all, also where the consumer takes its time. */
  readonly totalMs: number;
}

/** Reads a pipe, one piece at a time. */
export interface PipeReader {
  /**
   * Waits for the pipe's end, which comes when nobody has it open for writing any more.
   * @returns whether the end came
   */
  drain(limits: DrainLimits): Promise<boolean>;
  /** Stops reading; resolves when the descriptor is closed. @throws what the consumer threw */
  close(): Promise<void>;
}

/** @param consume the next piece comes when its promise is resolved */
export function readPipe(
  fd: number,
  clock: Pick<Clock, 'monotonic'>,
  consume: (chunk: Uint8Array) => Promise<void>,
): PipeReader {
  const socket = new Socket({ fd, readable: true, writable: false });
  const { promise: closed, resolve: setClosed } = Promise.withResolvers<void>();
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let lastRead = 0;

  const take = async (chunk: Uint8Array): Promise<void> => {
    socket.pause();
    try {
      await consume(chunk);
    } catch (error) {
      failure ??= { error };
      socket.destroy();
    }
    lastRead = clock.monotonic();
    socket.resume();
  };
  socket.on('data', (chunk: Buffer) => {
    void take(chunk);
  });
  socket.once('end', () => {
    ended = true;
  });
  socket.once('error', (error) => {
    failure ??= { error };
  });
  socket.once('close', setClosed);

  return {
    drain: async ({ idleMs, readingMs, totalMs }) => {
      const start = clock.monotonic();
      lastRead = start;
      const tick = idleMs / 4;
      let reading = 0;
      const { promise: tired, resolve: giveUp } = Promise.withResolvers<void>();
      const timer = setInterval(() => {
        const now = clock.monotonic();
        if (!socket.isPaused()) reading += tick;
        const idle = !socket.isPaused() && now - lastRead >= idleMs;
        if (idle || reading >= readingMs || now - start >= totalMs) giveUp();
      }, tick);
      await Promise.race([closed, tired]);
      clearInterval(timer);
      return ended;
    },
    close: async () => {
      socket.destroy();
      await closed;
      if (failure !== undefined) throw failure.error;
    },
  };
}

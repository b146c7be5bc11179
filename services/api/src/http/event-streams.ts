import { Readable } from 'node:stream';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Following } from '../app/live/follow-runs.ts';
import { principalOf } from './access.ts';
import { accountOf } from './account-access.ts';

/** A stream that has nothing to say says so this often, so that nothing in between takes it for dead. */
const heartbeatMs = 15_000;
/** A reader that takes nothing for this long is cut; it comes again with its position. */
const stallMs = 30_000;
/** Bytes of a stream that wait for its reader here. */
const bufferBytes = 16_384;
const retryAfterSeconds = 5;

export interface StreamLimits {
  /** Open streams. */
  readonly streams: number;
  /** Open streams of one caller. */
  readonly streamsPerCaller: number;
  /** After this a connection on which nothing moves is closed: heartbeats come more often. */
  readonly idleTimeoutMs: number;
}

/** Answers that do not end by themselves. */
export interface EventStreams {
  /**
   * @param contentType @default `text/event-stream`
   * @throws AppError `limit_reached` for a caller with too many, `unavailable` where there are too many or the server stops
   */
  send(
    request: FastifyRequest,
    reply: FastifyReply,
    source: (following: Following) => AsyncGenerator<string>,
    contentType?: string,
  ): FastifyReply;
  /** Ends all of them at once. */
  close(): void;
}

interface Stream {
  readonly stop: AbortController;
  /** The reader does not take what there is. */
  blocked: boolean;
}

export function createEventStreams(deps: {
  readonly limits: StreamLimits;
  readonly clock: Clock;
  readonly log: Logger;
}): EventStreams {
  const { limits } = deps;
  const open = new Map<Stream, { readonly caller: string; readonly reply: FastifyReply }>();
  let closed = false;

  return {
    send: (request, reply, source, contentType = 'text/event-stream') => {
      const caller = callerOf(request);
      if (closed) throw new AppError('unavailable', 'The server is stopping.', { retryAfterSeconds });
      checkRoom(
        [...open.values()].map((stream) => stream.caller),
        caller,
        limits,
      );
      const { raw } = reply;
      // A client that left meanwhile: nobody would tell when its place is free.
      if (raw.closed) throw new AppError('cancelled', 'The client ended the request early.');
      const stream: Stream = { stop: new AbortController(), blocked: false };
      open.set(stream, { caller, reply });
      raw.once('close', () => {
        open.delete(stream);
        stream.stop.abort();
      });
      const pieces = source({
        signal: stream.stop.signal,
        heartbeatMs: Math.min(heartbeatMs, limits.idleTimeoutMs / 3),
      });
      const paced = pace(stream, pieces, () => raw.destroy(), deps);
      return reply
        .headers({
          'content-type': contentType,
          'cache-control': 'no-store',
          'x-accel-buffering': 'no',
        })
        .send(Readable.from(paced, { objectMode: false, highWaterMark: bufferBytes }));
    },
    close: () => {
      closed = true;
      for (const [stream, { reply }] of open) {
        stream.stop.abort();
        // Who does not read would not read the end, either.
        if (stream.blocked || reply.raw.writableNeedDrain) reply.raw.destroy();
      }
    },
  };
}

function callerOf(request: FastifyRequest): string {
  if (request.routeOptions.config.access === 'account') {
    const { admin, login } = accountOf(request);
    return admin ? 'admin' : `account ${login}`;
  }
  const principal = principalOf(request);
  return principal.kind === 'admin' ? 'admin' : principal.uid;
}

/** @throws AppError where one more stream of the caller is one too many */
function checkRoom(callers: readonly string[], caller: string, limits: StreamLimits): void {
  if (callers.length >= limits.streams) {
    throw new AppError('unavailable', `There are ${limits.streams} open streams already (SLUICE_STREAMS).`, {
      retryAfterSeconds,
    });
  }
  const own = callers.filter((other) => other === caller).length;
  if (own < limits.streamsPerCaller) return;
  throw new AppError(
    'limit_reached',
    `This caller has ${own} open streams already (SLUICE_STREAMS_PER_CALLER). Close one, or share one.`,
    { retryAfterSeconds },
  );
}

/** Hands on what a source says as fast as the reader takes it; `cut` ends the connection. */
async function* pace(
  stream: Stream,
  source: AsyncGenerator<string>,
  cut: () => void,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): AsyncGenerator<string> {
  try {
    for await (const piece of source) {
      const taken = new AbortController();
      stream.blocked = true;
      clock.sleep(stallMs, taken.signal).then(cut, () => undefined);
      try {
        yield piece;
      } finally {
        taken.abort();
        stream.blocked = false;
      }
      if (stream.stop.signal.aborted) return;
    }
  } catch (error) {
    // The answer has begun: it breaks off, and the client comes again with its position.
    log.warn({ err: error }, 'event stream broke off');
    cut();
  }
}

import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Nats } from './nats-connection.ts';
import { fromNatsError } from './nats-errors.ts';

/**
 * Requests over one subscription, with one timer for all. The package's own have a timer each, and go on waiting for a
 * server that is gone; these are refused at once.
 */
export interface Requests {
  /**
   * The answer to one message.
   * @throws AppError `unavailable` when there is none within 5 seconds, or the connection is lost meanwhile
   */
  ask(subject: string, data: Uint8Array | string, headers?: MsgHdrs): Promise<Msg>;
  /** Answers to one message, up to `max`, until the server says that there are no more, or says nothing for 5 seconds. */
  collect(subject: string, data: string, max: number): Promise<Collected>;
  close(): void;
}

export interface Collected {
  readonly messages: readonly Msg[];
  /** With which the server ended: 0 where there were as many as wanted, or it fell silent. */
  readonly status: number;
}

export interface RequestsOptions {
  readonly nats: Nats;
  readonly clock: Clock;
  /** A subject of our own, for answers. */
  readonly inbox: string;
}

interface Waiting {
  readonly resolve: (answer: Msg) => void;
  readonly reject: (error: AppError) => void;
  readonly until: number;
}

const timeoutMs = 5000;
const sweepMs = 250;

export function createRequests(options: RequestsOptions): Requests {
  const { nats, clock, inbox } = options;
  // In the order in which they were made, which is that in which they expire.
  const waiting = new Map<string, Waiting>();
  const sweep = createSweep(waiting, clock);
  let made = 0;
  const failAll = (): void => {
    for (const { reject } of waiting.values()) reject(lost());
    waiting.clear();
  };
  const subscription = nats.connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error !== null) return;
      const token = message.subject.slice(inbox.length + 1);
      const request = waiting.get(token);
      waiting.delete(token);
      if (isNobody(message)) request?.reject(nobody());
      else request?.resolve(message);
    },
  });
  const unwatch = nats.onChange({ lost: failAll });

  return {
    ask: async (subject, data, headers) => {
      nats.requireConnected();
      made += 1;
      const token = made.toString(36);
      const { promise, resolve, reject } = Promise.withResolvers<Msg>();
      waiting.set(token, { resolve, reject, until: clock.monotonic() + timeoutMs });
      try {
        const reply = `${inbox}.${token}`;
        nats.connection.publish(subject, data, headers === undefined ? { reply } : { reply, headers });
      } catch (error) {
        waiting.delete(token);
        throw fromNatsError(error, 'send to NATS');
      }
      sweep();
      return promise;
    },
    collect: async (subject, data, max) => {
      nats.requireConnected();
      made += 1;
      return collect({ ...options, inbox: `${inbox}-${made.toString(36)}` }, subject, data, max);
    },
    close: () => {
      unwatch();
      failAll();
      if (!nats.connection.isClosed()) subscription.unsubscribe();
    },
  };
}

/** Gives up what is not answered in time; one timer while there is anything. */
function createSweep(waiting: Map<string, Waiting>, clock: Clock): () => void {
  let sweeping = false;
  const sweep = async (): Promise<void> => {
    while (waiting.size > 0) {
      await clock.sleep(sweepMs);
      const now = clock.monotonic();
      for (const [token, { until, reject }] of waiting) {
        if (until > now) break;
        waiting.delete(token);
        reject(new AppError('unavailable', 'NATS did not answer in time.', { retryAfterSeconds: 1 }));
      }
    }
    sweeping = false;
  };
  return () => {
    if (sweeping) return;
    sweeping = true;
    void sweep();
  };
}

function isNobody(message: Msg): boolean {
  return message.headers?.code === 503 && message.data.length === 0;
}

function nobody(): AppError {
  return new AppError('unavailable', 'Nothing answers at NATS: the stream or its leader is away.', {
    retryAfterSeconds: 1,
    details: { code: 503 },
  });
}

function lost(): AppError {
  return new AppError('unavailable', 'NATS was lost before it answered.', { retryAfterSeconds: 1 });
}

async function collect(
  { nats, clock, inbox }: RequestsOptions,
  subject: string,
  data: string,
  max: number,
): Promise<Collected> {
  const messages: Msg[] = [];
  const { promise, resolve } = Promise.withResolvers<number>();
  const subscription = nats.connection.subscribe(inbox, {
    callback: (error, message) => {
      const status = error === null ? (message.headers?.code ?? 0) : 500;
      if (status > 0) {
        resolve(status);
        return;
      }
      messages.push(message);
      if (messages.length === max) resolve(0);
    },
  });
  const unwatch = nats.onChange({ lost: () => resolve(-1) });
  const silence = new AbortController();
  try {
    nats.connection.publish(subject, data, { reply: inbox });
    const silent = clock.sleep(timeoutMs, silence.signal).then(
      () => -1,
      () => -1,
    );
    const status = await Promise.race([promise, silent]);
    if (status === 503 && messages.length === 0) throw nobody();
    if (status === -1 && messages.length === 0) throw lost();
    return { messages, status: Math.max(0, status) };
  } catch (error) {
    throw fromNatsError(error, 'read from NATS');
  } finally {
    silence.abort();
    unwatch();
    if (!nats.connection.isClosed()) subscription.unsubscribe();
  }
}

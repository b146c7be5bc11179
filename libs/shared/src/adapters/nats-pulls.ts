import type { Msg, Subscription } from '@nats-io/transport-node';
import { isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';

export interface PullOptions {
  readonly nats: Nats;
  readonly clock: Clock;
  readonly log: Logger;
  readonly stream: string;
  readonly consumer: string;
  /** A subject of its own, for messages. */
  readonly inbox: string;
  /** Makes the consumer where it is missing. */
  readonly ensure: () => Promise<void>;
  /** How many messages there is room for, those already asked for included. */
  readonly room: () => number;
  readonly onMessage: (message: Msg) => void;
}

/** Asks the server for messages of one consumer, for as many as there is room. */
export interface Pulls {
  /** There may be more room than before. */
  more(): void;
  /** Asks for nothing more. Resolves when what was on its way has come. */
  stop(): Promise<void>;
}

/** A request that the server has not answered in full. */
interface Pull {
  left: number;
  readonly until: number;
}

const expiresMs = 10_000;
/** A request whose end is not heard of by then was lost, with its server or leader. */
const lostAfterMs = expiresMs + 3000;
const lookMs = 1000;
const pauseMs = 250;

const statusNoMessages = 404;
const statusTimeout = 408;
const statusHeartbeat = 100;

export function createPulls(options: PullOptions): Pulls {
  const { nats, clock, inbox } = options;
  const pulls = new Map<string, Pull>();
  const stopping = new AbortController();
  let mending = false;

  const ask = asker(pulls, options);
  const more = (): void => {
    if (!stopping.signal.aborted && !mending && nats.connected()) ask();
  };
  /** The consumer may be gone, and requests with it. */
  const mend = async (): Promise<void> => {
    if (mending) return;
    mending = true;
    await ensureAgain(options, stopping.signal);
    mending = false;
    pulls.clear();
    more();
  };
  const heard = (message: Msg): void => {
    const status = message.headers?.code ?? 0;
    if (status === 0) {
      served(pulls);
      options.onMessage(message);
      return;
    }
    if (status === statusHeartbeat) return;
    pulls.delete(message.subject.slice(inbox.length + 1));
    if (status === statusNoMessages || status === statusTimeout) more();
    else void mend();
  };
  const subscription = nats.connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error === null) heard(message);
    },
  });
  const unwatch = nats.onChange({ lost: () => pulls.clear(), back: () => void mend() });
  const look = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await clock.sleep(lookMs, stopping.signal).catch(() => undefined);
      const now = clock.monotonic();
      for (const [id, { until }] of pulls) if (until <= now) pulls.delete(id);
      more();
    }
  };
  void look();
  return {
    more,
    stop: async () => {
      if (stopping.signal.aborted) return;
      stopping.abort();
      unwatch();
      await end(nats, subscription);
    },
  };
}

/** Asks for as many messages as there is room for. */
function asker(
  pulls: Map<string, Pull>,
  { nats, clock, stream, consumer, inbox, room }: PullOptions,
): () => void {
  let made = 0;
  return () => {
    const outstanding = [...pulls.values()].reduce((sum, { left }) => sum + left, 0);
    const batch = room() - outstanding;
    // Not one request per message while others are under way.
    if (batch < 1 || batch < outstanding / 4) return;
    made += 1;
    const id = made.toString(36);
    pulls.set(id, { left: batch, until: clock.monotonic() + lostAfterMs });
    const request = JSON.stringify({ batch, expires: expiresMs * 1_000_000 });
    nats.connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, request, {
      reply: `${inbox}.${id}`,
    });
  };
}

/** One message less is to come: the server serves requests in the order in which they came. */
function served(pulls: Map<string, Pull>): void {
  const [id, oldest] = pulls.entries().next().value ?? [];
  if (oldest === undefined || id === undefined) return;
  oldest.left -= 1;
  if (oldest.left === 0) pulls.delete(id);
}

/** Makes the consumer where it is missing, after a moment, until that succeeds. */
async function ensureAgain(
  { clock, log, stream, consumer, ensure }: PullOptions,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    try {
      await clock.sleep(pauseMs, stopping);
      await ensure();
      return;
    } catch (error) {
      if (stopping.aborted) return;
      if (!isAppError(error, 'unavailable')) {
        log.warn({ err: error, stream, consumer }, 'reader not there, trying again');
      }
    }
  }
}

/** Ends a subscription once what was on its way has come. */
async function end(nats: Nats, subscription: Subscription): Promise<void> {
  if (nats.connection.isClosed() || subscription.isClosed()) return;
  if (nats.connected()) await subscription.drain().catch(() => undefined);
  else subscription.unsubscribe();
}

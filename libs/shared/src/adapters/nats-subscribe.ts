import type { Msg } from '@nats-io/transport-node';
import { handleDelivery, type Terms } from '../bus/delivery-rules.ts';
import type { Delivery, MessageHandler, Subscription } from '../bus/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import type { Deliveries, Holder, Source } from './nats-delivery.ts';
import { createPulls, type Pulls } from './nats-pulls.ts';

export interface SubscribeOptions {
  readonly nats: Nats;
  readonly deliveries: Deliveries;
  readonly clock: Clock;
  readonly log: Logger;
  /** A subject of our own, new at each call. */
  readonly newInbox: () => string;
}

/** A consumer to read from. */
export interface Reading {
  readonly source: Source;
  /** Makes the consumer where it is missing. */
  readonly ensure: () => Promise<void>;
}

/** One subscription, with what it is working on. */
interface Member {
  readonly holder: Holder;
  readonly handler: MessageHandler;
  readonly running: Map<Promise<void>, Delivery>;
  /** Taken, and waiting for room: each of several consumers is asked for one message at least. */
  readonly queue: Delivery[];
  stopping: boolean;
}

/** Hands out what comes from all of the consumers, at most so many at a time. */
export function subscribeTo(
  readings: readonly Reading[],
  terms: Terms,
  handler: MessageHandler,
  options: SubscribeOptions,
): Subscription {
  const pulls: Pulls[] = [];
  const member: Member = {
    handler,
    running: new Map(),
    queue: [],
    stopping: false,
    holder: {
      terms,
      inFlight: 0,
      ended: () => {
        handOut(member, options);
        for (const pull of pulls) pull.more();
      },
    },
  };
  const late = new Set<Promise<void>>();
  for (const { source, ensure } of readings) {
    const { stream, consumer } = source;
    pulls.push(
      createPulls({
        ...options,
        stream,
        consumer,
        ensure,
        inbox: options.newInbox(),
        room: () => roomOf(member, readings.length),
        onMessage: (message) => {
          const work = take(member, source, message, options).finally(() => late.delete(work));
          late.add(work);
        },
      }),
    );
  }
  for (const pull of pulls) pull.more();
  const keeping = keepQueue(member, options);
  return {
    drain: async (timeoutMs) => {
      member.stopping = true;
      await Promise.all(pulls.map(async (pull) => pull.stop()));
      await Promise.all(late);
      await options.deliveries.giveBack(member.queue.splice(0));
      await settled(member, timeoutMs, options.clock);
      await options.deliveries.giveBack(member.running.values());
      keeping.abort();
    },
  };
}

/** Each consumer's share, at least one; what comes beyond the room waits. */
function roomOf({ holder, stopping }: Member, consumers: number): number {
  const room = holder.terms.maxInFlight - holder.inFlight;
  return stopping || room < 1 ? 0 : Math.max(1, Math.floor(room / consumers));
}

/** Never rejects. */
async function take(member: Member, source: Source, message: Msg, options: SubscribeOptions): Promise<void> {
  const { deliveries, log } = options;
  if (member.stopping) {
    try {
      await deliveries.refuse(source, message);
    } catch (error) {
      log.warn(
        { err: error, consumer: member.holder.terms.durable },
        'delivery not given back, it comes again',
      );
    }
    return;
  }
  const delivery = await deliveries.receive(source, member.holder, message);
  if (delivery === undefined) return;
  member.queue.push(delivery);
  handOut(member, options);
}

function handOut(member: Member, { log }: SubscribeOptions): void {
  const { holder, queue, running, handler } = member;
  while (!member.stopping && queue.length > 0 && holder.inFlight - queue.length < holder.terms.maxInFlight) {
    const delivery = queue.shift();
    if (delivery === undefined) return;
    const run = handleDelivery(handler, delivery, holder.terms.durable, log).finally(() =>
      running.delete(run),
    );
    running.set(run, delivery);
  }
}

/** What waits for room must not come again meanwhile. */
function keepQueue(member: Member, { clock, log }: SubscribeOptions): AbortController {
  const stop = new AbortController();
  const everyMs = member.holder.terms.leaseMs / 3;
  const keep = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await clock.sleep(everyMs, stop.signal).catch(() => undefined);
      await Promise.all(member.queue.map(async (delivery) => delivery.extend())).catch((error: unknown) => {
        log.debug({ err: error }, 'waiting deliveries not kept, they come again');
      });
    }
  };
  void keep();
  return stop;
}

async function settled({ running }: Member, timeoutMs: number, clock: Clock): Promise<void> {
  if (timeoutMs <= 0 || running.size === 0) return;
  const timer = new AbortController();
  const timeout = clock.sleep(timeoutMs, timer.signal).catch(() => undefined);
  await Promise.race([Promise.all(running.keys()), timeout]);
  timer.abort();
}

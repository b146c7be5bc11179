import { handleDelivery, type Terms } from '../bus/delivery-rules.ts';
import type { Delivery, MessageHandler } from '../bus/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Channel } from './sqlite-bus-channels.ts';
import type { Holder } from './sqlite-bus-delivery.ts';
import type { Leases, Want } from './sqlite-bus-leases.ts';

/** One subscription of a durable reader, with what it is working on. */
export interface Member {
  readonly handler: MessageHandler;
  readonly running: Map<Promise<void>, Delivery>;
}

/** The subscriptions of one durable reader: they share its messages. */
export interface Pool extends Holder {
  terms: Terms;
  readonly channels: readonly Channel[];
  readonly members: Member[];
  /** Fetching; one at a time. */
  pumping: Promise<void> | undefined;
}

export interface HandlersOptions {
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Logger;
  /** A fetch failed and should be tried again soon. */
  readonly fetchFailed: () => void;
}

/** Fetches and hands out for as long as there are messages and room, unless that is going on already. */
export function pump(pool: Pool, options: HandlersOptions): void {
  if (pool.pumping !== undefined || !hasWork(pool)) return;
  let busy = true;
  const work = async (): Promise<void> => {
    try {
      while (hasWork(pool)) await fetchRound(pool, options);
    } catch (error) {
      options.log.warn(
        { err: error, consumer: pool.terms.durable },
        'messages cannot be fetched, trying again',
      );
      options.fetchFailed();
    } finally {
      // In the same step as the last look, so that nothing can arrive unseen in between.
      busy = false;
      pool.pumping = undefined;
    }
  };
  const working = work();
  if (busy) pool.pumping = working;
}

function hasWork(pool: Pool): boolean {
  const room = pool.members.length > 0 && pool.inFlight < pool.terms.maxInFlight;
  return room && pool.channels.some((channel) => channel.readyTotal > 0);
}

async function fetchRound(pool: Pool, options: HandlersOptions): Promise<void> {
  const deliveries = await options.leases.fetch(pool, wantsOf(pool));
  const orphans: Delivery[] = [];
  for (const delivery of deliveries) {
    const member = leastBusy(pool.members);
    if (member === undefined) orphans.push(delivery);
    else handOut(member, delivery, pool.terms.durable, options);
  }
  // The last subscription was drained meanwhile.
  await options.leases.giveBack(orphans);
}

/** Shares the room between the keys that have messages; those served now are last next time. */
function wantsOf(pool: Pool): readonly Want[] {
  let room = pool.terms.maxInFlight - pool.inFlight;
  const keys = pool.channels.reduce((sum, channel) => sum + channel.ready.size, 0);
  const share = Math.max(1, Math.ceil(room / Math.max(1, keys)));
  const wants: Want[] = [];
  for (const channel of pool.channels) {
    for (const [key, waiting] of channel.ready) {
      if (room === 0) break;
      const max = Math.min(waiting, share, room);
      wants.push({ channel, key, max });
      room -= max;
    }
  }
  for (const { channel, key } of wants) {
    const waiting = channel.ready.get(key) ?? 0;
    channel.ready.delete(key);
    channel.ready.set(key, waiting);
  }
  return wants;
}

function leastBusy(members: readonly Member[]): Member | undefined {
  return members.reduce<Member | undefined>(
    (best, member) => (best === undefined || member.running.size < best.running.size ? member : best),
    undefined,
  );
}

function handOut(member: Member, delivery: Delivery, consumer: string, options: HandlersOptions): void {
  const run = handleDelivery(member.handler, delivery, consumer, options.log).finally(() =>
    member.running.delete(run),
  );
  member.running.set(run, delivery);
}

/** Ends one subscription: waits for its handlers, then gives back what they still hold. */
export async function drain(
  pool: Pool,
  member: Member,
  timeoutMs: number,
  options: HandlersOptions,
): Promise<void> {
  const place = pool.members.indexOf(member);
  if (place >= 0) pool.members.splice(place, 1);
  await pool.pumping;
  if (timeoutMs > 0 && member.running.size > 0) {
    const timer = new AbortController();
    const timeout = options.clock.sleep(timeoutMs, timer.signal).catch(() => undefined);
    await Promise.race([Promise.all(member.running.keys()), timeout]);
    timer.abort();
  }
  await options.leases.giveBack(member.running.values());
}

import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAlarm } from './sqlite-alarm.ts';
import type { Channel, Channels } from './sqlite-bus-channels.ts';
import type { Consumers } from './sqlite-bus-consumers.ts';
import type { Leases } from './sqlite-bus-leases.ts';
import type { Messages } from './sqlite-bus-messages.ts';
import type { Database } from './sqlite-database.ts';

/** What the bus does by the clock: leases that end, messages whose time comes, events that grow old. One timer for all. */
export interface Upkeep {
  /** Whom it works for; they need it to be made themselves. */
  serve(clients: { readonly leases: Leases; readonly consumers: Consumers }): void;
  start(): void;
  /** Something falls due at this bus time. */
  dueAt(time: number): void;
  /** A fetch failed: it is tried again in a moment. */
  fetchFailed(): void;
  /** Something was published: events are watched for age, and the oldest dropped where a reader has too many. */
  published(channel: Channel): void;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

export interface UpkeepOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Bus time minus monotonic time. */
  readonly epoch: number;
  readonly time: () => number;
  readonly channels: Channels;
  readonly messages: Messages;
  readonly limits: { readonly events: number; readonly eventAgeMs: number };
}

interface State {
  clients: Parameters<Upkeep['serve']>[0] | undefined;
  /** Bus time at which events are next looked through for old ones. */
  ageCheckAt: number;
  working: Promise<void> | undefined;
  /** Rung while working: look once more. */
  again: boolean;
  stopped: boolean;
  readonly trimming: Set<Channel>;
}

/** After a failure of the database. */
const retryMs = 1000;
/** Readers have this long after the start to subscribe before they can be taken for gone. */
const graceMs = 60_000;
const dropStep = 500;

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { clock, epoch, time, log } = options;
  const state: State = {
    clients: undefined,
    ageCheckAt: time() + graceMs,
    working: undefined,
    again: false,
    stopped: false,
    trimming: new Set(),
  };
  const alarm = createAlarm(clock, () => ring());
  const dueAt = (at: number): void => {
    if (!state.stopped) alarm.set(at - epoch);
  };
  const ring = (): void => {
    if (state.stopped) return;
    state.again = true;
    state.working ??= work().finally(() => {
      state.working = undefined;
    });
  };
  const work = async (): Promise<void> => {
    while (state.again && !state.stopped) {
      state.again = false;
      try {
        await look(state, options, dueAt);
      } catch (error) {
        log.warn({ err: error }, 'bus upkeep failed, trying again');
        dueAt(time() + retryMs);
      }
    }
  };
  return {
    serve: (clients) => {
      state.clients = clients;
    },
    // Finds what waits for its time since an earlier process.
    start: ring,
    dueAt,
    fetchFailed: () => dueAt(time() + retryMs),
    published: (channel) => {
      if (channel.reader === '') return;
      dueAt(state.ageCheckAt);
      if (channel.total <= options.limits.events || state.trimming.has(channel)) return;
      state.trimming.add(channel);
      ring();
    },
    stop: async () => {
      state.stopped = true;
      alarm.clear();
      await state.working;
    },
  };
}

async function look(state: State, options: UpkeepOptions, dueAt: (time: number) => void): Promise<void> {
  const { db, messages, time } = options;
  const nextLease = await state.clients?.leases.expire(time());
  const nextReady = await db.write((transaction) => messages.wakeDue(transaction, time()));
  for (const channel of state.trimming) {
    await trim(channel, options);
    state.trimming.delete(channel);
  }
  if (time() >= state.ageCheckAt) await dropOld(state, options);
  state.clients?.consumers.retryFetches();
  if (nextLease !== undefined) dueAt(nextLease);
  if (nextReady !== undefined) dueAt(nextReady);
  if (options.channels.events().some((channel) => channel.total > 0)) dueAt(state.ageCheckAt);
}

async function trim(channel: Channel, { db, messages, limits, log }: UpkeepOptions): Promise<void> {
  const before = channel.total;
  while (channel.total > limits.events && channel.ready.size > 0) {
    // The busiest key pays; the others' few are not pushed out by it.
    const [key] = [...channel.ready].reduce((most, entry) => (entry[1] > most[1] ? entry : most));
    const over = Math.min(channel.total - limits.events, dropStep);
    const dropped = await db.write((transaction) =>
      messages.dropOldest(transaction, channel, key, over, Number.MAX_SAFE_INTEGER),
    );
    if (dropped === 0) break;
  }
  const fields = { consumer: channel.reader, message_name: channel.name, dropped: before - channel.total };
  log.warn(fields, 'events dropped: the reader is too slow');
}

async function dropOld(state: State, options: UpkeepOptions): Promise<void> {
  const { channels, limits, time, log } = options;
  const before = time() - limits.eventAgeMs;
  for (const channel of channels.events()) {
    const dropped = await dropOldOf(channel, before, options);
    if (dropped === 0) continue;
    const fields = { consumer: channel.reader, message_name: channel.name, dropped };
    log.warn(fields, 'events dropped: nobody read them in time');
    // Renamed or no longer part of the program; else its events would be kept for ever.
    if (state.clients?.consumers.isRead(channel) === false) await channels.remove(channel);
  }
  state.ageCheckAt = time() + Math.min(Math.max(limits.eventAgeMs / 10, 1000), 3_600_000);
}

async function dropOldOf(channel: Channel, before: number, { db, messages }: UpkeepOptions): Promise<number> {
  let sum = 0;
  for (const key of channel.ready.keys()) {
    let dropped = dropStep;
    while (dropped === dropStep) {
      dropped = await db.write((transaction) =>
        messages.dropOldest(transaction, channel, key, dropStep, before),
      );
      sum += dropped;
    }
  }
  return sum;
}

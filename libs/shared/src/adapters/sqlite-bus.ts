import type { Bus, OutgoingMessage } from '../bus/index.ts';
import { createLiveListeners, type LiveListeners } from '../bus/live-listeners.ts';
import { createMessageCodec, type MessageCodec } from '../bus/message-codec.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger, Registry } from '../telemetry/index.ts';
import { type Channel, type Channels, createChannels } from './sqlite-bus-channels.ts';
import { createConsumers } from './sqlite-bus-consumers.ts';
import { createGraveyard } from './sqlite-bus-dead-letters.ts';
import { createLeases } from './sqlite-bus-leases.ts';
import { createMessages, type Messages } from './sqlite-bus-messages.ts';
import { createPendingReader } from './sqlite-bus-pending.ts';
import { createUpkeep, type Upkeep } from './sqlite-bus-upkeep.ts';
import { gaugeMessages } from './sqlite-metrics.ts';
import type { Database } from './sqlite-database.ts';
import type { Transaction } from './sqlite-transaction.ts';

/** Bounds of the streams. */
export interface BusLimits {
  /** Messages of one command that may wait or be in hand; past it publishing is refused. @default 1000000 */
  readonly commands?: number;
  /** Events that wait for one reader; past it the oldest are dropped. @default 100000 */
  readonly events?: number;
  /** Milliseconds after which an event that nobody read is dropped. @default 604800000 */
  readonly eventAgeMs?: number;
  /** Dead letters; past it, what should join them waits. @default 100000 */
  readonly deadLetters?: number;
  /** Milliseconds that an id stays known after its message is done. @default 120000 */
  readonly dedupeMs?: number;
}

export interface SqliteBusOptions {
  readonly db: Database;
  /** Keeps the messages of several buses in one file apart. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Registry;
  /** Random bytes (`randomBytes` of `node:crypto`): jitter and ids. */
  readonly random: (size: number) => Uint8Array;
  readonly limits?: BusLimits;
}

const defaultLimits: Required<BusLimits> = {
  commands: 1_000_000,
  events: 100_000,
  eventAgeMs: 7 * 86_400_000,
  deadLetters: 100_000,
  dedupeMs: 120_000,
};

/**
 * The embedded bus: a message table, and leases in memory, since one process owns the file. What a killed process had
 * in hand is ready again when the next one opens the bus; attempts stay counted.
 * @throws AppError `conflict` when the database has a bus of this namespace already
 */
export function createSqliteBus(options: SqliteBusOptions): Bus {
  const { db, namespace, log } = options;
  const vacate = db.occupy(`bus ${namespace}`);
  const parts = build(options);
  const { consumers, leases, upkeep } = parts;
  const publish = publisher(parts, db);
  if (options.metrics !== undefined) gaugeMessages(options.metrics, parts.channels.all);
  let closed = false;
  const refuseClosed = (): void => {
    if (closed) throw new AppError('unavailable', 'The bus is closed.');
  };
  upkeep.start();
  return {
    publish: async (messages) => {
      refuseClosed();
      await publish(messages);
    },
    subscribe: async (spec, handler) => {
      refuseClosed();
      return consumers.subscribe(spec, handler);
    },
    workQueue: async (spec) => {
      refuseClosed();
      return consumers.workQueue(spec);
    },
    hint: (hint) => {
      refuseClosed();
      parts.live.say({ ...hint, json: parts.codec.encodeHint(hint) });
    },
    listen: async (names, listener) => {
      refuseClosed();
      return parts.live.add(names, listener);
    },
    deadLetters: parts.deadLetters,
    check: async () => {
      refuseClosed();
      await db.check();
    },
    close: async () => {
      if (closed) return;
      closed = true;
      try {
        await consumers.close();
        await upkeep.stop();
        await leases.giveBackAll();
      } catch (error) {
        // The next one to open the bus frees what is in hand all the same, one attempt dearer.
        log.warn({ err: error }, 'messages in hand could not be given back');
      } finally {
        vacate();
      }
    },
  };
}

interface Parts {
  readonly codec: MessageCodec;
  readonly channels: Channels;
  readonly messages: Messages;
  readonly limits: Required<BusLimits>;
  readonly checkRoom: (transaction: Transaction, channel: Channel, more: number) => void;
  readonly upkeep: Upkeep;
  readonly live: LiveListeners;
}

function build(options: SqliteBusOptions): Parts & {
  readonly consumers: ReturnType<typeof createConsumers>;
  readonly leases: ReturnType<typeof createLeases>;
  readonly deadLetters: Bus['deadLetters'];
} {
  const { db, namespace, clock, log, random } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const codec = createMessageCodec();
  // Not the wall clock, which may jump: delays and leases last as long as they should.
  const epoch = clock.now() - clock.monotonic();
  const time = (): number => epoch + clock.monotonic();
  const channels = createChannels({ db, namespace, time, dedupeMs: limits.dedupeMs });
  const messages = createMessages(db, namespace, channels, time);
  const checkRoom = roomChecker(channels, limits);
  const newId = (): string => Buffer.from(random(16)).toString('hex');
  const { bury, deadLetters } = createGraveyard({
    db,
    namespace,
    channels,
    messages,
    codec,
    newId,
    checkRoom,
    now: () => clock.now(),
    limit: limits.deadLetters,
  });
  const upkeep = createUpkeep({ db, clock, log, epoch, time, channels, messages, limits });
  const leases = createLeases({
    db,
    messages,
    bury,
    codec,
    log,
    time,
    random: () => Buffer.from(random(4)).readUInt32LE() / 2 ** 32,
    dueAt: upkeep.dueAt,
  });
  const consumers = createConsumers({
    channels,
    leases,
    pending: createPendingReader(db, codec),
    clock,
    log,
    fetchFailed: upkeep.fetchFailed,
  });
  upkeep.serve({ leases, consumers });
  const live = createLiveListeners(log);
  return { codec, channels, messages, limits, checkRoom, upkeep, live, consumers, leases, deadLetters };
}

function roomChecker(channels: Channels, limits: Required<BusLimits>): Parts['checkRoom'] {
  return (transaction, channel, more) => {
    // Events make room by themselves.
    if (channel.reader !== '') return;
    if (channel.total + channels.counts(transaction).added(channel) + more > limits.commands)
      throw full(channel, limits);
  };
}

function full(channel: Channel, limits: Required<BusLimits>): AppError {
  return new AppError(
    'limit_reached',
    `${limits.commands} messages of ${channel.name} wait already; try again later.`,
    {
      retryAfterSeconds: 5,
    },
  );
}

function publisher(parts: Parts, db: Database): (messages: readonly OutgoingMessage[]) => Promise<void> {
  const { codec, channels, messages, limits, checkRoom, upkeep, live } = parts;
  return async (outgoing) => {
    const encoded = outgoing.map((message) => ({ ...message, json: codec.encode(message) }));
    const rows = encoded.flatMap((message) =>
      // An event that nobody reads goes nowhere: a reader gets what is published after it first subscribed.
      channels.targets(message.name).map((channel) => ({ channel, message })),
    );
    const say = (): void => {
      for (const message of encoded) live.say(message);
    };
    if (rows.length === 0) {
      say();
      return;
    }
    const perChannel = Map.groupBy(rows, (row) => row.channel);
    // Again in the transaction; here a full stream costs nobody else anything.
    for (const channel of perChannel.keys()) {
      if (channel.reader === '' && channel.total >= limits.commands) throw full(channel, limits);
    }
    await db.write((transaction) => {
      for (const [channel, { length }] of perChannel) checkRoom(transaction, channel, length);
      for (const { channel, message } of rows) messages.insert(transaction, channel, message);
    });
    for (const channel of perChannel.keys()) upkeep.published(channel);
    say();
  };
}

import { longestDelayMs } from '../bus/delivery-rules.ts';
import { catalogue, type MessageName } from '../contracts/index.ts';
import type { Database } from './sqlite-database.ts';
import type { Stage, Transaction } from './sqlite-transaction.ts';

/**
 * The messages of one name for one reader. Counts mirror the database: they are changed after a commit only.
 * Memory grows with the keys that have messages, not with the messages.
 */
export interface Channel {
  readonly id: number;
  readonly name: MessageName;
  /** Durable name of an event's reader; empty for a command. */
  readonly reader: string;
  /** Messages that could be handed out now, by key; the key served longest ago comes first. */
  readonly ready: Map<string, number>;
  readyTotal: number;
  /** All messages, those in hand and those waiting for their time included. */
  total: number;
  readonly recent: RecentIds;
  /** Called soon after messages became ready. */
  wake: () => void;
}

/** Ids of messages that are done: publishing one again a moment later stores nothing. Bounded; lost with the process. */
export interface RecentIds {
  add(id: string): void;
  has(id: string): boolean;
}

/** How a transaction changes the counts of channels. */
export interface Counts {
  /** `ready` and `total`: how many more. */
  add(channel: Channel, key: string, ready: number, total: number): void;
  /** Messages that this transaction added to the channel so far. */
  added(channel: Channel): number;
}

export interface Channels {
  /** The channels that a message of this name goes to: one for a command, one a reader for an event. */
  targets(name: MessageName): readonly Channel[];
  byId(id: number): Channel | undefined;
  /** The channel of a name and reader, made where it is missing. */
  open(name: MessageName, reader: string): Promise<Channel>;
  find(name: MessageName, reader: string): Channel | undefined;
  /** Forgets a reader with all that waits for it. */
  remove(channel: Channel): Promise<void>;
  events(): readonly Channel[];
  all(): readonly Channel[];
  counts(transaction: Transaction): Counts;
}

const recentIds = 20_000;

export interface ChannelOptions {
  readonly db: Database;
  readonly namespace: string;
  readonly time: () => number;
  /** How long an id is remembered after its message is done, milliseconds. */
  readonly dedupeMs: number;
}

/** Loads all channels of the namespace; commands get theirs at once, so that publishing never has to make one. */
export function createChannels(options: ChannelOptions): Channels {
  const { db, namespace } = options;
  const insert = db.prepare(
    'INSERT INTO bus_channels (namespace, name, reader) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const select = db.prepare<{ id: number }>(
    'SELECT id FROM bus_channels WHERE namespace = ? AND name = ? AND reader = ?',
  );
  const known = new Map<number, Channel>();
  const byName = new Map<string, Channel[]>();

  const keep = (channel: Channel): Channel => {
    known.set(channel.id, channel);
    byName.set(channel.name, [...(byName.get(channel.name) ?? []), channel]);
    return channel;
  };
  const find = (name: MessageName, reader: string): Channel | undefined =>
    byName.get(name)?.find((channel) => channel.reader === reader);
  const stage = countsStage();

  loadChannels(options).forEach(keep);
  return {
    targets: (name) => byName.get(name) ?? [],
    byId: (id) => known.get(id),
    find,
    open: async (name, reader) => {
      const there = find(name, reader);
      if (there !== undefined) return there;
      const id = await db.write(() => {
        insert.run(namespace, name, reader);
        return select.get(namespace, name, reader)?.id ?? 0;
      });
      return known.get(id) ?? keep(newChannel(id, name, reader, options));
    },
    remove: async (channel) => {
      await removeChannel(db, channel);
      known.delete(channel.id);
      byName.set(
        channel.name,
        (byName.get(channel.name) ?? []).filter((other) => other !== channel),
      );
    },
    all: () => [...known.values()],
    events: () => [...known.values()].filter((channel) => channel.reader !== ''),
    counts: (transaction) => transaction.stage(stage),
  };
}

async function removeChannel(db: Database, channel: Channel): Promise<void> {
  const some = db.prepare(
    'DELETE FROM bus_messages WHERE seq IN (SELECT seq FROM bus_messages WHERE channel = ? LIMIT 500)',
  );
  let left = true;
  while (left) left = Number((await db.write(() => some.run(channel.id))).changes) > 0;
  const last = db.prepare('DELETE FROM bus_channels WHERE id = ?');
  await db.write(() => last.run(channel.id));
}

interface ChannelRow {
  readonly id: number;
  readonly name: string;
  readonly reader: string;
}

function loadChannels(options: ChannelOptions): readonly Channel[] {
  const { db, namespace } = options;
  const insert = db.prepare(
    'INSERT INTO bus_channels (namespace, name, reader) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const select = db.prepare<ChannelRow>(
    'SELECT id, name, reader FROM bus_channels WHERE namespace = ? ORDER BY id',
  );
  const rows = db.writeNow(() => {
    for (const [name, contract] of Object.entries(catalogue)) {
      if (contract.kind === 'cmd') insert.run(namespace, name, '');
    }
    freeMessages(options);
    return select.all(namespace);
  });
  const channels = rows.flatMap(({ id, name, reader }) =>
    // A message that this version doesn't know any more stays where it is.
    isMessageName(name) ? [newChannel(id, name, reader, options)] : [],
  );
  loadCounts(db, new Map(channels.map((channel) => [channel.id, channel])));
  return channels;
}

function isMessageName(name: string): name is MessageName {
  return Object.hasOwn(catalogue, name);
}

/** What a process that is gone had in hand is ready again; attempts stay counted. */
function freeMessages({ db, namespace, time }: ChannelOptions): void {
  const mine = 'channel IN (SELECT id FROM bus_channels WHERE namespace = ?)';
  db.prepare(`UPDATE bus_messages SET held_until = NULL WHERE held_until = 0 AND ${mine}`).run(namespace);
  // The machine's clock may have been set back since: nobody waits longer than was asked for.
  const latest = Math.ceil(time()) + longestDelayMs;
  db.prepare(`UPDATE bus_messages SET held_until = ? WHERE held_until > ? AND ${mine}`).run(
    latest,
    latest,
    namespace,
  );
}

function loadCounts(db: Database, channels: ReadonlyMap<number, Channel>): void {
  const ready = db.prepare<{ channel: number; key: string; n: number }>(
    'SELECT channel, key, count(*) AS n FROM bus_messages WHERE held_until IS NULL GROUP BY channel, key',
  );
  for (const { channel, key, n } of ready.all()) {
    const known = channels.get(channel);
    if (known !== undefined) change(known, key, n, n);
  }
  const held = db.prepare<{ channel: number; n: number }>(
    'SELECT channel, count(*) AS n FROM bus_messages WHERE held_until IS NOT NULL GROUP BY channel',
  );
  for (const { channel, n } of held.all()) {
    const known = channels.get(channel);
    if (known !== undefined) known.total += n;
  }
}

function newChannel(id: number, name: MessageName, reader: string, options: ChannelOptions): Channel {
  return {
    id,
    name,
    reader,
    ready: new Map(),
    readyTotal: 0,
    total: 0,
    recent: createRecentIds(options.time, options.dedupeMs),
    wake: () => undefined,
  };
}

function change(channel: Channel, key: string, ready: number, total: number): void {
  channel.total += total;
  if (ready === 0) return;
  channel.readyTotal += ready;
  const left = (channel.ready.get(key) ?? 0) + ready;
  if (left > 0) channel.ready.set(key, left);
  else channel.ready.delete(key);
}

interface Staged extends Counts {
  readonly changes: Map<Channel, { total: number; readonly ready: Map<string, number> }>;
}

function countsStage(): Stage<Staged> {
  return {
    start: () => {
      const changes: Staged['changes'] = new Map();
      return {
        changes,
        add: (channel, key, ready, total) => {
          const entry = changes.get(channel) ?? { total: 0, ready: new Map<string, number>() };
          changes.set(channel, entry);
          entry.total += total;
          entry.ready.set(key, (entry.ready.get(key) ?? 0) + ready);
        },
        added: (channel) => changes.get(channel)?.total ?? 0,
      };
    },
    afterCommit: ({ changes }) => {
      for (const [channel, { total, ready }] of changes) {
        let arrived = false;
        channel.total += total;
        for (const [key, more] of ready) {
          change(channel, key, more, 0);
          arrived ||= more > 0;
        }
        if (arrived) channel.wake();
      }
    },
  };
}

/** Two generations of sets: an id is remembered for at least `windowMs`, unless very many follow it. */
function createRecentIds(time: () => number, windowMs: number): RecentIds {
  let young = new Set<string>();
  let old = new Set<string>();
  let turned = time();
  const turn = (): void => {
    const now = time();
    if (now - turned < windowMs && young.size < recentIds) return;
    old = now - turned < 2 * windowMs ? young : new Set();
    young = new Set();
    turned = now;
  };
  return {
    add: (id) => {
      turn();
      young.add(id);
    },
    has: (id) => {
      turn();
      return young.has(id) || old.has(id);
    },
  };
}

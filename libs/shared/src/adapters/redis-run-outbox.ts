import type { OutgoingMessage } from '../bus/index.ts';
import { isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { OutboxEntry, RunLedger } from '../stores/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createBatcher } from './batcher.ts';
import { type LedgerCall, texts, tuples } from './redis-run-calls.ts';
import { readOutboxScript } from './redis-run-read-scripts.ts';
import { removeOutboxScript } from './redis-run-scripts.ts';

/** Publishes messages; `Bus.publish` is one. */
export type Publish = (messages: readonly OutgoingMessage[]) => Promise<void>;

export interface RedisRunOutbox extends Pick<RunLedger, 'readOutbox' | 'removeFromOutbox' | 'onOutbox'> {
  /** Whether this process publishes what it stores. */
  readonly publishes: boolean;
  /** Messages were stored: publishes them where that is this process's to do. Resolves when they are on the bus, or wait for a relay without one. */
  stored(entries: readonly StoredMessage[]): Promise<void>;
  /** As `stored`, for those that nobody waits for: a relay comes by where it fails. */
  storedUnawaited(entries: readonly StoredMessage[]): void;
}

/** An entry of the outbox, with the length of its text. */
export interface StoredMessage extends OutboxEntry {
  readonly bytes: number;
}

interface OutboxDeps {
  readonly call: LedgerCall;
  readonly clock: Clock;
  readonly log: Logger;
  readonly publish?: Publish | undefined;
}

/** Milliseconds that the process which stored a message has for publishing it, before a relay does. */
const graceMs = 2000;
/** Bytes of a reading, or of a batch. */
const batchBytes = 4 * 1024 * 1024;
const batchMessages = 500;
/** Messages that nobody waits for and that may wait for the bus in this process; more are left to the relay. */
const maxWaiting = 5000;

export function createRedisRunOutbox({ call, clock, log, publish }: OutboxDeps): RedisRunOutbox {
  const listeners = new Set<() => void>();
  const removeFromOutbox = async (seqs: readonly string[]): Promise<void> => {
    const known = seqs.filter((seq) => /^\d{1,15}$/.test(seq));
    for (let at = 0; at < known.length; at += 1000)
      await call(removeOutboxScript, known.slice(at, at + 1000));
  };
  const publisher = publish === undefined ? undefined : createPublisher(publish, removeFromOutbox, log);
  const ring = (): void => {
    for (const listener of listeners) listener();
  };
  return {
    publishes: publish !== undefined,
    stored: async (entries) => {
      if (entries.length === 0) return;
      if (publisher === undefined) ring();
      else await publisher.send(entries);
    },
    storedUnawaited: (entries) => {
      if (entries.length === 0) return;
      if (publisher === undefined) ring();
      else if (publisher.waiting() < maxWaiting) {
        publisher.send(entries).catch((error: unknown) => {
          log.debug({ err: error }, 'messages left to the relay');
        });
      }
    },
    readOutbox: async (limit) => {
      const reply = texts(await call(readOutboxScript, [limit, batchBytes]));
      const before = publish === undefined ? Infinity : clock.now() - graceMs;
      return tuples(reply, 3).flatMap(([seq = '', at, json = '']) =>
        Number(at) <= before ? [{ seq, message: JSON.parse(json) as OutgoingMessage }] : [],
      );
    },
    removeFromOutbox,
    onOutbox: (listener) => {
      // Its own function, so that the same listener can be there twice.
      const entry = (): void => listener();
      listeners.add(entry);
      return () => listeners.delete(entry);
    },
  };
}

interface Publisher {
  send(entries: readonly StoredMessage[]): Promise<void>;
  waiting(): number;
}

function createPublisher(
  publish: Publish,
  remove: (seqs: readonly string[]) => Promise<void>,
  log: Logger,
): Publisher {
  const batcher = createBatcher<StoredMessage, unknown>({
    maxItems: batchMessages,
    maxBytes: batchBytes,
    // One, so that the events of a run are published in their order.
    maxUnderWay: 1,
    bytesOf: ({ bytes }) => bytes,
    work: async (entries) => {
      const failures = await publishAll(publish, entries);
      const done = entries.filter((_, index) => failures[index] === undefined).map(({ seq }) => seq);
      // Nobody waits for it: what is left behind is published once more by a relay, under the same ids.
      remove(done).catch((error: unknown) => {
        log.debug({ err: error }, 'published messages left in the outbox');
      });
      return failures;
    },
  });
  return {
    send: async (entries) => {
      const failed = (await batcher.add(entries)).find((failure) => failure !== undefined);
      if (failed !== undefined) throw failed;
    },
    waiting: batcher.waiting,
  };
}

/** What became of each: undefined, or why it is not on the bus. Rejects where none is, since the bus is away. */
async function publishAll(publish: Publish, entries: readonly OutboxEntry[]): Promise<readonly unknown[]> {
  try {
    await publish(entries.map(({ message }) => message));
    return entries.map(() => undefined);
  } catch (error) {
    if (entries.length === 1) return [error];
    if (!concernsSome(error)) throw error;
  }
  // A stream that is full concerns the messages of some names, one that breaks its contract only itself.
  const failures = new Map<OutboxEntry, unknown>();
  for (const group of Map.groupBy(entries, ({ message }) => message.name).values()) {
    const failed = await publishGroup(publish, group);
    for (const [entry, failure] of failed) failures.set(entry, failure);
  }
  return entries.map((entry) => failures.get(entry));
}

async function publishGroup(
  publish: Publish,
  group: readonly OutboxEntry[],
): Promise<ReadonlyMap<OutboxEntry, unknown>> {
  const failures = new Map<OutboxEntry, unknown>();
  try {
    await publish(group.map(({ message }) => message));
    return failures;
  } catch (error) {
    if (!isAppError(error) || error.retry !== 'never') return new Map(group.map((entry) => [entry, error]));
  }
  for (const entry of group) {
    try {
      await publish([entry.message]);
    } catch (error) {
      failures.set(entry, error);
    }
  }
  return failures;
}

function concernsSome(error: unknown): boolean {
  return isAppError(error) && (error.retry === 'never' || error.code === 'limit_reached');
}

/** A message and its text, as a script stores it. */
export interface SaidMessage {
  readonly message: OutgoingMessage;
  readonly text: string;
}

export function said(messages: readonly OutgoingMessage[]): readonly SaidMessage[] {
  return messages.map((message) => ({ message, text: JSON.stringify(message) }));
}

/** In place of a number, for messages that are published without being in the outbox. */
export const unnumbered = Infinity;

/** Entries of messages that a script numbered from `first`; none where it stored none. */
export function entriesFrom(first: number, messages: readonly SaidMessage[]): readonly StoredMessage[] {
  if (first <= 0) return [];
  return messages.map(({ message, text }, index) => ({
    seq: String(first + index),
    message,
    bytes: text.length,
  }));
}

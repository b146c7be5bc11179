import { type Terms, termsOf } from '../bus/delivery-rules.ts';
import type { ConsumerSpec, IncomingMessage, MessageHandler, Subscription, WorkQueue } from '../bus/index.ts';
import { catalogue, type MessageName } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Channel, Channels } from './sqlite-bus-channels.ts';
import { drain, type Member, type Pool, pump } from './sqlite-bus-handlers.ts';
import type { Leases } from './sqlite-bus-leases.ts';

export interface Consumers {
  subscribe(spec: ConsumerSpec, handler: MessageHandler): Promise<Subscription>;
  workQueue(spec: Omit<ConsumerSpec, 'names'> & { name: MessageName }): Promise<WorkQueue>;
  /** Tries again what could not be fetched. */
  retryFetches(): void;
  /** Whether somebody reads this channel now. */
  isRead(channel: Channel): boolean;
  /** Ends every subscription and work queue without waiting for handlers. */
  close(): Promise<void>;
}

export interface ConsumersOptions {
  readonly channels: Channels;
  readonly leases: Leases;
  /** All that a channel holds. */
  readonly pending: (channel: Channel) => AsyncIterable<IncomingMessage>;
  readonly clock: Clock;
  readonly log: Logger;
  /** A fetch failed and should be tried again soon. */
  readonly fetchFailed: () => void;
}

/** A durable reader with at least one user: a subscription, or a work queue. */
interface Consumer extends Pool {
  readonly kind: 'subscription' | 'work queue';
  /** Who wants to hear of arrivals. */
  readonly listeners: Set<() => void>;
  /** Work queues that are open. */
  queues: number;
  announcing: boolean;
}

export function createConsumers(options: ConsumersOptions): Consumers {
  const registry = createRegistry(options);
  const drainMember = async (consumer: Consumer, member: Member, timeoutMs: number): Promise<void> => {
    try {
      await drain(consumer, member, timeoutMs, options);
    } finally {
      registry.leave(consumer);
    }
  };

  return {
    subscribe: async (spec, handler) => {
      const consumer = await registry.join(spec, 'subscription');
      const member: Member = { handler, running: new Map() };
      consumer.members.push(member);
      arrived(consumer, options);
      return { drain: async (timeoutMs) => drainMember(consumer, member, timeoutMs) };
    },
    workQueue: async ({ name, ...spec }) => {
      if (Object.hasOwn(catalogue, name) && catalogue[name].kind !== 'cmd') {
        throw new AppError('invalid_input', `${name} is an event: subscribe to it.`, { field: 'name' });
      }
      const consumer = await registry.join({ ...spec, names: [name] }, 'work queue');
      consumer.queues += 1;
      return openQueue(consumer, options, () => registry.leave(consumer));
    },
    retryFetches: () => {
      for (const consumer of registry.all()) arrived(consumer, options);
    },
    isRead: registry.isRead,
    close: async () => {
      const members = registry
        .all()
        .flatMap((consumer) => consumer.members.map((member) => ({ consumer, member })));
      for (const consumer of registry.all()) consumer.listeners.clear();
      await Promise.all(members.map(async ({ consumer, member }) => drainMember(consumer, member, 0)));
    },
  };
}

/** Who reads which channels, under which durable name. */
interface Registry {
  /** @throws AppError `conflict` when the name or one of the commands belongs to somebody else */
  join(spec: ConsumerSpec, kind: Consumer['kind']): Promise<Consumer>;
  /** Forgets a reader that nobody uses any more; its messages wait for the next one of the name. */
  leave(consumer: Consumer): void;
  isRead(channel: Channel): boolean;
  all(): readonly Consumer[];
}

function createRegistry(options: ConsumersOptions): Registry {
  const consumers = new Map<string, Consumer>();
  const readers = new Map<Channel, Consumer>();
  return {
    join: async (spec, kind) => {
      const terms = termsOf(spec);
      const channels: Channel[] = [];
      for (const name of new Set(spec.names)) {
        channels.push(await options.channels.open(name, catalogue[name].kind === 'cmd' ? '' : spec.durable));
      }
      const consumer = consumers.get(spec.durable) ?? newConsumer(terms, kind, channels, options);
      checkShared(consumer, kind, channels, readers);
      consumers.set(spec.durable, consumer);
      consumer.terms = terms;
      for (const channel of channels) {
        readers.set(channel, consumer);
        channel.wake = () => arrived(consumer, options);
      }
      return consumer;
    },
    leave: (consumer) => {
      if (consumer.members.length > 0 || consumer.queues > 0) return;
      consumers.delete(consumer.terms.durable);
      for (const channel of consumer.channels) {
        if (readers.get(channel) !== consumer) continue;
        readers.delete(channel);
        channel.wake = () => undefined;
      }
    },
    isRead: (channel) => readers.has(channel),
    all: () => [...consumers.values()],
  };
}

function newConsumer(
  terms: Terms,
  kind: Consumer['kind'],
  channels: readonly Channel[],
  options: ConsumersOptions,
): Consumer {
  const consumer: Consumer = {
    terms,
    kind,
    channels,
    inFlight: 0,
    members: [],
    listeners: new Set(),
    queues: 0,
    pumping: undefined,
    announcing: false,
    freed: () => {
      if (channels.some((channel) => channel.readyTotal > 0)) arrived(consumer, options);
    },
  };
  return consumer;
}

/** A command has one owner; who shares a durable name shares all of it. */
function checkShared(
  consumer: Consumer,
  kind: Consumer['kind'],
  channels: readonly Channel[],
  readers: ReadonlyMap<Channel, Consumer>,
): void {
  const { durable } = consumer.terms;
  const same =
    consumer.channels.length === channels.length && channels.every((it) => consumer.channels.includes(it));
  if (!same || consumer.kind !== kind) {
    throw new AppError('conflict', `The reader "${durable}" is in use for other messages.`, {
      field: 'durable',
    });
  }
  const taken = channels.find((channel) => (readers.get(channel) ?? consumer) !== consumer);
  if (taken === undefined) return;
  const owner = readers.get(taken)?.terms.durable ?? '';
  throw new AppError('conflict', `${taken.name} is worked off by "${owner}" already.`, { field: 'names' });
}

/** Messages became ready, or there is room for more: fetch them, or tell whoever decides. */
function arrived(consumer: Consumer, options: ConsumersOptions): void {
  if (consumer.kind === 'subscription') return pump(consumer, options);
  if (consumer.announcing || consumer.listeners.size === 0) return;
  if (consumer.channels.every((channel) => channel.readyTotal === 0)) return;
  consumer.announcing = true;
  // Once for all that one transaction brought.
  queueMicrotask(() => {
    consumer.announcing = false;
    for (const listener of consumer.listeners) listener();
  });
}

function openQueue(consumer: Consumer, { leases, pending }: ConsumersOptions, leave: () => void): WorkQueue {
  const [channel] = consumer.channels;
  const mine = new Set<() => void>();
  let open = true;
  return {
    backlog: async () => [...(channel?.ready ?? [])].map(([key, waiting]) => ({ key, waiting })),
    fetch: async (key, max) => {
      if (!open) throw new AppError('unavailable', 'The work queue is closed.');
      const room = consumer.terms.maxInFlight - consumer.inFlight;
      const wanted = Math.min(max, room, channel?.ready.get(key) ?? 0);
      return channel === undefined || wanted < 1
        ? []
        : leases.fetch(consumer, [{ channel, key, max: wanted }]);
    },
    onArrival: (listener) => {
      // Its own function, so that the same listener can be there twice.
      const entry = (): void => listener();
      mine.add(entry);
      consumer.listeners.add(entry);
      return () => {
        mine.delete(entry);
        consumer.listeners.delete(entry);
      };
    },
    pending: async function* all() {
      if (channel !== undefined) yield* pending(channel);
    },
    close: async () => {
      if (!open) return;
      open = false;
      for (const entry of mine) consumer.listeners.delete(entry);
      consumer.queues -= 1;
      if (consumer.queues === 0) await leases.giveBackAll(consumer);
      leave();
    },
  };
}

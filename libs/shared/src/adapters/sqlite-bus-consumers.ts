import type { ConsumerSpec, Delivery, MessageHandler, Subscription, WorkQueue } from '../bus/index.ts';
import { catalogue, type MessageName } from '../contracts/index.ts';
import { AppError, isAppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Channel, Channels } from './sqlite-bus-channels.ts';
import type { Holder, Leases, Terms, Want } from './sqlite-bus-leases.ts';

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
  readonly clock: Clock;
  readonly log: Logger;
  /** A fetch failed and should be tried again soon. */
  readonly fetchFailed: () => void;
}

/** A durable reader with at least one user: a subscription, or a work queue. */
interface Consumer extends Holder {
  terms: Terms;
  readonly kind: 'subscription' | 'work queue';
  readonly channels: readonly Channel[];
  readonly members: Member[];
  readonly listeners: Set<() => void>;
  /** Work queues that are open. */
  queues: number;
  /** The fetch under way. */
  pumping: Promise<void> | undefined;
  announcing: boolean;
}

/** One subscription of a durable reader. */
interface Member {
  readonly handler: MessageHandler;
  readonly running: Map<Promise<void>, Delivery>;
}

const defaultMaxAttempts = 8;
const defaultLeaseMs = 30_000;

export function createConsumers(options: ConsumersOptions): Consumers {
  const consumers = new Map<string, Consumer>();
  const readers = new Map<Channel, Consumer>();

  const join = async (spec: ConsumerSpec, kind: Consumer['kind']): Promise<Consumer> => {
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
  };
  const leave = (consumer: Consumer): void => {
    if (consumer.members.length > 0 || consumer.queues > 0) return;
    consumers.delete(consumer.terms.durable);
    for (const channel of consumer.channels) {
      if (readers.get(channel) !== consumer) continue;
      readers.delete(channel);
      channel.wake = () => undefined;
    }
  };

  return {
    subscribe: async (spec, handler) => {
      const consumer = await join(spec, 'subscription');
      const member: Member = { handler, running: new Map() };
      consumer.members.push(member);
      arrived(consumer, options);
      return { drain: async (timeoutMs) => drain(consumer, member, timeoutMs, { ...options, leave }) };
    },
    workQueue: async ({ name, ...spec }) => {
      const consumer = await join({ ...spec, names: [name] }, 'work queue');
      consumer.queues += 1;
      return openQueue(consumer, { ...options, leave });
    },
    retryFetches: () => {
      for (const consumer of consumers.values()) arrived(consumer, options);
    },
    isRead: (channel) => readers.has(channel),
    close: async () => {
      for (const consumer of [...consumers.values()]) {
        consumer.listeners.clear();
        consumer.queues = 0;
        await Promise.all(consumer.members.map(async (member) => drain(consumer, member, 0, { ...options, leave })));
        leave(consumer);
      }
    },
  };
}

function termsOf(spec: ConsumerSpec): Terms {
  const { durable, maxInFlight, maxAttempts = defaultMaxAttempts, leaseMs = defaultLeaseMs } = spec;
  const unknown = spec.names.find((name) => !Object.hasOwn(catalogue, name));
  if (unknown !== undefined) throw new AppError('invalid_input', `There is no message named ${unknown}.`, { field: 'names' });
  const fault = [
    { field: 'durable', wrong: durable === '' },
    { field: 'names', wrong: spec.names.length === 0 },
    { field: 'maxInFlight', wrong: !Number.isInteger(maxInFlight) || maxInFlight < 1 },
    { field: 'maxAttempts', wrong: !Number.isInteger(maxAttempts) || maxAttempts < 1 },
    { field: 'leaseMs', wrong: !(leaseMs > 0) },
  ].find(({ wrong }) => wrong);
  if (fault === undefined) return { durable, maxInFlight, maxAttempts, leaseMs };
  throw new AppError('invalid_input', `The reader "${durable}" needs a valid ${fault.field}.`, { field: fault.field });
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
  const same = consumer.channels.length === channels.length && channels.every((it) => consumer.channels.includes(it));
  if (!same || consumer.kind !== kind) {
    throw new AppError('conflict', `The reader "${durable}" is in use for other messages.`, { field: 'durable' });
  }
  const taken = channels.find((channel) => (readers.get(channel) ?? consumer) !== consumer);
  if (taken === undefined) return;
  const owner = readers.get(taken)?.terms.durable ?? '';
  throw new AppError('conflict', `${taken.name} is worked off by "${owner}" already.`, { field: 'names' });
}

/** Messages became ready, or there is room for more: fetch them, or tell whoever decides. */
function arrived(consumer: Consumer, options: ConsumersOptions): void {
  if (consumer.members.length > 0) {
    consumer.pumping ??= pump(consumer, options).finally(() => {
      consumer.pumping = undefined;
      // What arrived after the last look.
      if (wantsOf(consumer).length > 0 && consumer.members.length > 0 && !consumer.announcing) announce(consumer, options);
    });
    return;
  }
  announce(consumer, options);
}

import type { JetStreamManager, jetstreamManager as JetStreamManagerFactory } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/transport-node';
import { type Terms, termsOf } from '../bus/delivery-rules.ts';
import type { Bus, ConsumerSpec, Subscription, WorkQueue } from '../bus/index.ts';
import { createMessageCodec, type MessageCodec } from '../bus/message-codec.ts';
import { catalogue, type MessageName, subjectToken } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import { createGraveyard } from './nats-dead-letters.ts';
import { createDeliveries, type Deliveries } from './nats-delivery.ts';
import { fromNatsError, jetStreamCode } from './nats-errors.ts';
import { createNatsLive, type NatsLive } from './nats-live.ts';
import { createNames, type NatsNames } from './nats-names.ts';
import { createPublisher, encodeMessage, type Publisher } from './nats-publish.ts';
import { readingsOf } from './nats-readings.ts';
import { createReleases } from './nats-releases.ts';
import { createRequests, type Requests } from './nats-requests.ts';
import {
  defaultNatsLimits,
  ensureStreams,
  type NatsBusLimits,
  streamDefinitions,
  streamNames,
} from './nats-streams.ts';
import { subscribeTo } from './nats-subscribe.ts';
import { openWorkQueue } from './nats-work-queue.ts';

export interface NatsBusOptions {
  /** Shared with others and closed by whoever opened it, after the bus. */
  readonly nats: Nats;
  /** Begins the names of streams and subjects: installations that share a server have one each. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Random bytes (`randomBytes` of `node:crypto`): jitter and names of inboxes. */
  readonly random: (size: number) => Uint8Array;
  readonly limits?: NatsBusLimits;
  /** Servers that keep each message. @default 1 */
  readonly replicas?: number;
  /** The subject that an S3 server publishes its notifications to by itself; read with `storage.notify`. */
  readonly notifySubject?: string | undefined;
  /** Messages sent and not confirmed, at most. @default 256 */
  readonly window?: number;
}

/** What the parts of one bus share. */
export interface NatsBusParts {
  readonly nats: Nats;
  readonly jsm: JetStreamManager;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly names: NatsNames;
  readonly codec: MessageCodec;
  readonly deliveries: Deliveries;
  readonly live: NatsLive;
  readonly deadLetters: Bus['deadLetters'];
  readonly clock: Clock;
  readonly log: Logger;
  readonly headers: () => MsgHdrs;
  readonly maxPayload: () => number;
  readonly newInbox: () => string;
  readonly notifySubject: string | undefined;
  readonly ensureStreams: () => Promise<void>;
}

/**
 * The distributed bus: JetStream streams, one a command, one for all events. Makes its streams where they are missing.
 * @throws AppError `invalid_input` for a namespace or a limit that is none; `conflict` when a stream is there that is in the way
 */
export async function createNatsBus(options: NatsBusOptions): Promise<Bus> {
  const parts = await build(options);
  const { nats, live, publisher } = parts;
  await parts.ensureStreams();
  const open = new Set<() => Promise<void>>();
  let closed = false;
  const refuseClosed = (): void => {
    if (closed) throw new AppError('unavailable', 'The bus is closed.');
  };
  return {
    publish: async (messages) => {
      refuseClosed();
      const sendable = messages.map((message) => encodeMessage(message, parts));
      await publisher.send(sendable);
    },
    subscribe: async (spec, handler) => {
      refuseClosed();
      const subscription = await subscribe(spec, handler, parts);
      const end = async (): Promise<void> => subscription.drain(0);
      open.add(end);
      return {
        drain: async (timeoutMs) => {
          open.delete(end);
          await subscription.drain(timeoutMs);
        },
      };
    },
    workQueue: async (spec) => {
      refuseClosed();
      const queue = workQueue(spec, parts);
      // Until the server knows whom to tell of arrivals.
      await nats.flush();
      open.add(queue.close);
      return queue;
    },
    hint: (hint) => {
      refuseClosed();
      live.hint(hint);
    },
    listen: async (names, listener, onGap) => {
      refuseClosed();
      return live.listen(names, listener, onGap);
    },
    deadLetters: parts.deadLetters,
    check: async () => {
      refuseClosed();
      await check(parts);
    },
    close: async () => {
      if (closed) return;
      closed = true;
      const ended = await Promise.allSettled([...open].map(async (end) => end()));
      const failed = ended.find((result) => result.status === 'rejected');
      if (failed !== undefined) {
        // They come again when their leases end, one attempt dearer.
        parts.log.warn({ err: failed.reason }, 'messages in hand could not be given back');
      }
      live.close();
      parts.requests.close();
    },
  };
}

async function build(options: NatsBusOptions): Promise<NatsBusParts> {
  const { nats, namespace, clock, log, random, replicas = 1, notifySubject } = options;
  const limits = { ...defaultNatsLimits, ...options.limits };
  checkOptions({ ...limits, replicas });
  const [{ headers }, { jetstreamManager }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/jetstream'),
  ]);
  const names = createNames(namespace);
  const codec = createMessageCodec();
  const jsm = await managerOf(nats, jetstreamManager);
  const newInbox = (): string => `_INBOX.${Buffer.from(random(12)).toString('hex')}`;
  const requests = createRequests({ nats, clock, inbox: newInbox() });
  const publisher = createPublisher(requests, options.window ?? 256);
  const maxPayload = (): number => nats.connection.info?.max_payload ?? 1_048_576;
  const common = { nats, jsm, requests, publisher, names, codec, clock, log, headers, maxPayload };
  const { bury, deadLetters } = createGraveyard({
    ...common,
    eventReader: async (durable) => eventReader(durable, common),
  });
  const deliveries = createDeliveries({
    ...common,
    bury,
    releases: createReleases(common),
    random: () => Buffer.from(random(4)).readUInt32LE() / 2 ** 32,
  });
  const definitions = streamDefinitions({ names, limits, replicas, notifySubject });
  return {
    ...common,
    deadLetters,
    deliveries,
    live: createNatsLive({ ...common, namespace }),
    newInbox,
    notifySubject,
    ensureStreams: async () => ensureStreams(jsm, definitions, log),
  };
}

async function managerOf(
  nats: Nats,
  jetstreamManager: typeof JetStreamManagerFactory,
): Promise<JetStreamManager> {
  try {
    return await jetstreamManager(nats.connection, { timeout: 10_000 });
  } catch (error) {
    throw fromNatsError(error, 'use JetStream');
  }
}

function checkOptions(numbers: Record<string, number>): void {
  const wrong = Object.entries(numbers).find(([, value]) => !Number.isSafeInteger(value) || value < 1);
  if (wrong === undefined) return;
  throw new AppError('invalid_input', `${wrong[0]} must be a whole number from 1 on.`, { field: wrong[0] });
}

/** The consumer of an event's reader. */
async function eventReader(
  durable: string,
  { jsm, names }: Pick<NatsBusParts, 'jsm' | 'names'>,
): Promise<string | undefined> {
  const consumer = subjectToken(durable);
  try {
    await jsm.consumers.info(streamNames(names).events, consumer);
    return consumer;
  } catch (error) {
    const failure = fromNatsError(error, 'look for the reader of a dead letter');
    if (jetStreamCode(error) === 10_014) return undefined;
    throw failure;
  }
}

async function subscribe(
  spec: ConsumerSpec,
  handler: Parameters<Bus['subscribe']>[1],
  parts: NatsBusParts,
): Promise<Subscription> {
  const terms = termsOf(spec);
  parts.nats.requireConnected();
  const readings = readingsOf(spec, terms, parts);
  for (const { ensure } of readings) await ensure();
  return subscribeTo(readings, terms, handler, parts);
}

function workQueue(
  { name, ...spec }: Omit<ConsumerSpec, 'names'> & { readonly name: MessageName },
  parts: NatsBusParts,
): WorkQueue {
  const terms: Terms = termsOf({ ...spec, names: [name] });
  if (catalogue[name].kind !== 'cmd' || !catalogue[name].keyed) {
    throw new AppError('invalid_input', `${name} is not a command with a key: subscribe to it.`, {
      field: 'name',
    });
  }
  parts.nats.requireConnected();
  return openWorkQueue(name, terms, parts);
}

/** By what publishing needs: a stream with a leader. */
async function check({ nats, requests, names }: NatsBusParts): Promise<void> {
  nats.requireConnected();
  const answer = await requests.ask(`$JS.API.STREAM.INFO.${streamNames(names).command('runs.start')}`, '');
  const { error } = answer.json<{ error?: { description?: string } }>();
  if (error === undefined) return;
  throw new AppError('unavailable', `JetStream cannot be used: ${error.description ?? 'no reason given'}.`, {
    retryAfterSeconds: 1,
  });
}

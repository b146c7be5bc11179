import type { JetStreamManager } from '@nats-io/jetstream';
import type { Subscription } from '@nats-io/transport-node';
import type { Terms } from '../bus/delivery-rules.ts';
import type { Delivery, IncomingMessage, WorkQueue } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { type MessageName, subjectToken } from '../contracts/index.ts';
import { AppError, isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import { ensureConsumer } from './nats-consumers.ts';
import type { Deliveries, Holder, Source } from './nats-delivery.ts';
import { fromNatsError } from './nats-errors.ts';
import { readStored } from './nats-messages.ts';
import { decodeText, headerNames, isHashed, type NatsNames } from './nats-names.ts';
import { readAll } from './nats-pages.ts';
import type { Requests } from './nats-requests.ts';
import { streamNames } from './nats-streams.ts';
import { createWaiting, type KeyState, type Waiting } from './nats-waiting.ts';

export interface WorkQueueOptions {
  readonly nats: Nats;
  readonly jsm: JetStreamManager;
  readonly requests: Requests;
  readonly deliveries: Deliveries;
  readonly codec: MessageCodec;
  readonly names: NatsNames;
  readonly clock: Clock;
  readonly log: Logger;
  /** Makes the streams where they are missing. */
  readonly ensureStreams: () => Promise<void>;
}

/** Consumers of services without runs: the server forgets them after this long, with nothing lost. */
const forgetAfterMs = 86_400_000;

interface Queue {
  readonly name: MessageName;
  readonly stream: string;
  readonly terms: Terms;
  readonly waiting: Waiting;
  /** Places taken by deliveries in hand and by fetches under way. */
  taken: number;
  /** Somebody found no room: is told when there is some. */
  starved: boolean;
  open: boolean;
  readonly hint: () => void;
  readonly fetching: Set<Promise<unknown>>;
}

/** A command's stream with a consumer for each key that has messages; several processes share them. */
export function openWorkQueue(name: MessageName, terms: Terms, options: WorkQueueOptions): WorkQueue {
  const { nats, clock, deliveries } = options;
  const listeners = new Set<() => void>();
  const hint = announcer(listeners);
  const queue: Queue = {
    name,
    stream: streamNames(options.names).command(name),
    terms,
    waiting: createWaiting(clock, hint),
    taken: 0,
    starved: false,
    open: true,
    hint,
    fetching: new Set(),
  };
  const arrivals = hearArrivals(queue, options);
  const unwatch = nats.onChange({ back: hint });
  return {
    backlog: async () => backlogOf(queue, options),
    fetch: async (key, max) => {
      if (!queue.open) throw new AppError('unavailable', 'The work queue is closed.');
      const wanted = Math.min(max, terms.maxInFlight - queue.taken);
      if (wanted < max) queue.starved = true;
      if (wanted < 1) return [];
      const work = fetchSome(queue, key, wanted, options);
      queue.fetching.add(work);
      try {
        return await work;
      } finally {
        queue.fetching.delete(work);
      }
    },
    onArrival: (listener) => {
      // Its own function, so that the same listener can be there twice.
      const entry = (): void => listener();
      listeners.add(entry);
      return () => listeners.delete(entry);
    },
    pending: () => pendingOf(queue, options),
    close: async () => {
      if (!queue.open) return;
      queue.open = false;
      listeners.clear();
      unwatch();
      if (!nats.connection.isClosed()) arrivals.unsubscribe();
      queue.waiting.close();
      await Promise.allSettled(queue.fetching);
      await deliveries.giveBackAll(terms);
    },
  };
}

function announcer(listeners: ReadonlySet<() => void>): () => void {
  let announcing = false;
  return () => {
    if (announcing || listeners.size === 0) return;
    announcing = true;
    // Once for all that came together.
    setImmediate(() => {
      announcing = false;
      for (const listener of listeners) listener();
    });
  };
}

function hearArrivals(queue: Queue, { nats, names }: WorkQueueOptions): Subscription {
  const prefix = names.subject('arrived', queue.name, '');
  return nats.connection.subscribe(`${prefix}*`, {
    callback: (error, message) => {
      if (error !== null) return;
      queue.waiting.arrived(message.subject.slice(prefix.length));
      queue.hint();
    },
  });
}

/** One request, however many keys there are: the server counts messages by subject. */
async function backlogOf(queue: Queue, options: WorkQueueOptions): ReturnType<WorkQueue['backlog']> {
  const { jsm, nats, names } = options;
  nats.requireConnected();
  const base = names.subject('cmd', queue.name, '');
  try {
    const { state } = await jsm.streams.info(queue.stream, { subjects_filter: `${base}*` });
    const counts = new Map(
      Object.entries(state.subjects ?? {}).map(([subject, count]) => [subject.slice(base.length), count]),
    );
    for (const token of counts.keys()) {
      if (isHashed(token) && queue.waiting.keyOf(token) === undefined) {
        queue.waiting.learn(token, await keyBehind(`${base}${token}`, queue, options));
      }
    }
    return queue.waiting.ready(counts);
  } catch (error) {
    throw fromNatsError(error, `count the messages of ${queue.name}`);
  }
}

/** The key whose hash a subject ends with: its messages say it. */
async function keyBehind(
  subject: string,
  queue: Queue,
  { jsm }: WorkQueueOptions,
): Promise<string | undefined> {
  const found = await jsm.streams.getMessage(queue.stream, { last_by_subj: subject });
  const key = found?.header.get(headerNames.key) ?? '';
  return key === '' ? undefined : decodeText(key);
}

async function fetchSome(
  queue: Queue,
  key: string,
  wanted: number,
  options: WorkQueueOptions,
): Promise<readonly Delivery[]> {
  const { deliveries } = options;
  const token = subjectToken(key);
  const state = queue.waiting.of(token, key);
  const since = state.arrivals;
  const source: Source = { stream: queue.stream, consumer: `key-${token}`, nameOf: () => queue.name };
  // Kept from now on, so that fetches side by side don't take more than there is room for.
  queue.taken += wanted;
  let kept = 0;
  try {
    const { messages } = await pullNow(queue, source, state, wanted, options);
    if (messages.length < wanted) queue.waiting.exhausted(state, messages.length, since);
    const holder = holderOf(queue, state);
    const received = await Promise.all(
      messages.map(async (message) => {
        kept += 1;
        return deliveries.receive(source, holder, message);
      }),
    );
    return received.filter((delivery) => delivery !== undefined);
  } finally {
    queue.taken -= wanted - kept;
    if (queue.starved && wanted > kept) free(queue);
  }
}

async function pullNow(
  queue: Queue,
  source: Source,
  state: KeyState,
  wanted: number,
  options: WorkQueueOptions,
): ReturnType<Requests['collect']> {
  const pull = async (): ReturnType<Requests['collect']> =>
    options.requests.collect(
      `$JS.API.CONSUMER.MSG.NEXT.${source.stream}.${source.consumer}`,
      JSON.stringify({ batch: wanted, no_wait: true }),
      wanted,
    );
  if (!state.known) await ensureKey(queue, source, state, options);
  try {
    return await pull();
  } catch (error) {
    // 503: there is no such consumer any more.
    if (!isAppError(error, 'unavailable') || error.details['code'] !== 503) throw error;
    await options.ensureStreams();
    await ensureKey(queue, source, state, options);
    return pull();
  }
}

async function ensureKey(
  queue: Queue,
  { stream, consumer }: Source,
  state: KeyState,
  { jsm, log, names }: WorkQueueOptions,
): Promise<void> {
  await ensureConsumer(
    jsm,
    {
      stream,
      consumer,
      filters: [names.subject('cmd', queue.name, state.token)],
      leaseMs: queue.terms.leaseMs,
      fromNow: false,
      forgetAfterMs,
    },
    log,
  );
  state.known = true;
}

function holderOf(queue: Queue, state: KeyState): Holder {
  const holder: Holder = {
    terms: queue.terms,
    get inFlight() {
      return state.inHand;
    },
    set inFlight(count) {
      state.inHand = count;
    },
    ended: (how) => {
      queue.taken -= 1;
      if (how === 'again') {
        state.arrivals += 1;
        queue.hint();
      } else if (how !== 'gone') queue.waiting.putOff(state, how);
      free(queue);
    },
  };
  return holder;
}

function free(queue: Queue): void {
  if (!queue.starved) return;
  queue.starved = false;
  queue.hint();
}

async function* pendingOf(
  queue: Queue,
  { requests, codec }: WorkQueueOptions,
): AsyncGenerator<IncomingMessage> {
  for await (const stored of readAll(requests, queue.stream)) {
    try {
      yield readStored(codec, queue.name, stored);
    } catch (error) {
      // Left for whoever fetches it.
      if (!isAppError(error, 'unprocessable')) throw error;
    }
  }
}

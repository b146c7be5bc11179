import type { ConsumerConfig } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { AppError } from '../errors/index.ts';
import type { NatsBucket } from './nats-kv.ts';
import type { Nats } from './nats-connection.ts';
import { fromNatsError } from './nats-errors.ts';

/** A revision of a key, as a feed tells it. */
export interface FeedEntry {
  readonly key: string;
  readonly revision: number;
  /** Undefined for a marker of a removal. Empty in a feed without values. */
  readonly value: Uint8Array | undefined;
  /** When the server stored it, in its clock (epoch ms). */
  readonly storedAt: number;
}

export interface FeedHandlers {
  entry(entry: FeedEntry): void;
  /** All that was there has been told. */
  complete(): void;
  /** Nothing more comes: something may have been missed, and only a new feed knows. Called once, not after `stop`. */
  broken(reason: string): void;
}

export interface Feed {
  stop(): void;
}

const heartbeatMs = 5000;
/** Silence for so long means that the server has lost the feed. */
const silenceMs = heartbeatMs * 2.5;
const nanos = 1_000_000;

/**
 * The newest revision of every key, then each change, for as long as nothing is lost on the way. The package's own watch
 * goes on by itself after a cut, but misses what the server had sent into the broken connection until the next change
 * comes, and says nothing of keys that went with the server's memory: so a feed ends instead, and its user begins anew.
 */
export async function openFeed(
  nats: Nats,
  bucket: NatsBucket,
  options: { readonly values: boolean; readonly filter?: string },
  handlers: FeedHandlers,
): Promise<Feed> {
  nats.requireConnected();
  const [{ jetstreamManager }, { createInbox }] = await Promise.all([
    import('@nats-io/jetstream'),
    import('@nats-io/transport-node'),
  ]);
  const inbox = createInbox();
  const listening = listen(nats, bucket, inbox, handlers);
  try {
    const manager = await jetstreamManager(nats.connection);
    const info = await manager.consumers.add(bucket.stream, feedConfig(inbox, bucket, options));
    listening.begin(info.num_pending === 0 && info.delivered.consumer_seq === 0);
  } catch (error) {
    listening.stop();
    throw fromNatsError(error, `read the NATS bucket ${bucket.stream.slice(3)}`);
  }
  return listening;
}

interface Listening extends Feed {
  /** The server knows of it, and has nothing to tell if it is `empty`. @throws AppError `unavailable` when it is broken already */
  begin(empty: boolean): void;
}

function listen(nats: Nats, bucket: NatsBucket, inbox: string, handlers: FeedHandlers): Listening {
  const state = { over: false, delivered: 0, told: false, silence: undefined as NodeJS.Timeout | undefined };
  const stop = (): void => {
    state.over = true;
    clearTimeout(state.silence);
    unlisten();
    if (!subscription.isClosed()) subscription.unsubscribe();
  };
  const broken = (reason: string): void => {
    if (state.over) return;
    stop();
    handlers.broken(reason);
  };
  const alive = (): void => {
    clearTimeout(state.silence);
    state.silence = setTimeout(() => broken('no sign of life'), silenceMs).unref();
  };
  const complete = (): void => {
    if (state.told || state.over) return;
    state.told = true;
    handlers.complete();
  };
  const message = (msg: Msg): void => {
    const told = readMessage(nats, msg, bucket, state.delivered);
    if (typeof told === 'string') return broken(told);
    if (told.entry !== undefined) {
      state.delivered += 1;
      handlers.entry(told.entry);
    }
    if (told.last) complete();
  };
  const unlisten = nats.onChange({ lost: () => broken('connection lost') });
  const subscription = nats.connection.subscribe(inbox, {
    callback: (error, msg) => {
      if (state.over) return;
      alive();
      if (error === null) message(msg);
      else broken(error.message);
    },
  });
  const begin = (empty: boolean): void => {
    if (state.over) throw new AppError('unavailable', 'The connection to NATS was lost.');
    alive();
    if (empty) complete();
  };
  return { stop, begin };
}

/** What a message says: an entry, that all has been told, or (a text) what is wrong with the feed. */
function readMessage(
  nats: Nats,
  msg: Msg,
  bucket: NatsBucket,
  delivered: number,
): { readonly entry: FeedEntry | undefined; readonly last: boolean } | string {
  const code = msg.headers?.code ?? 0;
  if (code === 0) return entryOf(msg, bucket, delivered);
  if (code !== 100) return `${code} ${msg.headers?.description ?? ''}`;
  // A heartbeat is sent when there is nothing else to send: what was still expected has been erased meanwhile.
  return control(nats, msg, delivered) ?? { entry: undefined, last: !msg.reply };
}

function feedConfig(
  inbox: string,
  bucket: NatsBucket,
  { values, filter = '>' }: { readonly values: boolean; readonly filter?: string },
): ConsumerConfig {
  return {
    deliver_subject: inbox,
    filter_subject: bucket.subject(filter),
    deliver_policy: 'last_per_subject',
    ack_policy: 'none',
    replay_policy: 'instant',
    max_deliver: 1,
    flow_control: true,
    idle_heartbeat: heartbeatMs * nanos,
    // Whoever is not listened to any more goes by itself.
    inactive_threshold: 30_000 * nanos,
    headers_only: !values,
    mem_storage: true,
    num_replicas: 1,
  };
}

/** @returns what the message says, or what is wrong with the feed */
function entryOf(
  msg: Msg,
  bucket: NatsBucket,
  delivered: number,
): { readonly entry: FeedEntry; readonly last: boolean } | string {
  const ack = parseAck(msg.reply ?? '');
  if (ack === undefined) return 'a message that is not of the stream';
  if (ack.delivered !== delivered + 1) return 'messages were lost on the way';
  const operation = msg.headers?.get('KV-Operation') ?? '';
  const removed = operation === 'DEL' || operation === 'PURGE';
  const entry = {
    key: msg.subject.slice(bucket.subject('').length),
    revision: ack.revision,
    value: removed ? undefined : msg.data,
    storedAt: ack.storedAt,
  };
  return { entry, last: ack.pending === 0 };
}

/** Flow control wants an answer; a heartbeat tells how much was sent. @returns what is wrong with the feed, if anything */
function control(nats: Nats, msg: Msg, delivered: number): string | undefined {
  if (msg.reply) {
    msg.respond();
    return undefined;
  }
  const stalled = msg.headers?.get('Nats-Consumer-Stalled') ?? '';
  if (stalled !== '') nats.connection.publish(stalled);
  const sent = Number(msg.headers?.get('Nats-Last-Consumer') ?? '');
  return sent > delivered ? 'the last messages were lost on the way' : undefined;
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, newer servers with domain and account before the stream. */
function parseAck(
  reply: string,
): { revision: number; delivered: number; storedAt: number; pending: number } | undefined {
  const tokens = reply.split('.');
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  const rest = tokens.length >= 11 ? tokens.slice(6) : tokens.slice(4);
  const [, revision, delivered, time, pending] = rest.map(Number);
  if (revision === undefined || delivered === undefined || time === undefined || pending === undefined)
    return undefined;
  return { revision, delivered, storedAt: Math.floor(time / nanos), pending };
}

/** The newest revision of every key that matches, markers of removals included. @throws AppError `unavailable` */
export async function readAll(
  nats: Nats,
  bucket: NatsBucket,
  options: { readonly values: boolean; readonly filter?: string },
): Promise<readonly FeedEntry[]> {
  const entries: FeedEntry[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // It may be over before it is waited for.
  promise.catch(() => undefined);
  const feed = await openFeed(nats, bucket, options, {
    entry: (entry) => entries.push(entry),
    complete: resolve,
    broken: (reason) =>
      reject(
        new AppError('unavailable', `Cannot read the NATS bucket ${bucket.stream.slice(3)}: ${reason}.`, {
          retryAfterSeconds: 1,
        }),
      ),
  });
  try {
    await promise;
    return entries;
  } finally {
    feed.stop();
  }
}

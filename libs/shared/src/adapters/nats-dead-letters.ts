import { createHash } from 'node:crypto';
import type { JetStreamManager, StoredMsg } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/transport-node';
import type { DeadLetter, DeadLetters } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { catalogue, type MessageName, subjectToken } from '../contracts/index.ts';
import { AppError, isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { fromNatsError, jetStreamCode } from './nats-errors.ts';
import type { ReceivedMessage, StoredMessage } from './nats-messages.ts';
import { decodeText, encodeText, headerNames, messageSubject, type NatsNames } from './nats-names.ts';
import { readNewest } from './nats-pages.ts';
import { envelope, type Publisher } from './nats-publish.ts';
import type { Requests } from './nats-requests.ts';
import { streamNames } from './nats-streams.ts';
import { checkLimit } from './page-limit.ts';
import { decodeNumberCursor, encodeCursor } from './sqlite-cursor.ts';

export interface GraveyardOptions {
  readonly jsm: JetStreamManager;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly names: NatsNames;
  readonly codec: MessageCodec;
  readonly headers: () => MsgHdrs;
  readonly clock: Clock;
  readonly maxPayload: () => number;
  /** The consumer of an event's reader; undefined where there is no such reader. */
  readonly eventReader: (durable: string) => Promise<string | undefined>;
}

interface Death {
  readonly consumer: string;
  readonly reason: string;
  readonly attempts: number;
}

/** Stores a message as dead; once, however often it is called. */
export type Bury = (message: ReceivedMessage, death: Death) => Promise<void>;

/** A dead letter as it is written: one subject each, so that it is found by its id. */
interface Body extends Death {
  readonly id: string;
  readonly messageId: string;
  readonly name: string;
  readonly key: string | undefined;
  readonly traceparent: string | undefined;
  readonly data: Uint8Array | string;
}

/** Reasons are sentences; what a handler threw may be a whole page. Percent-encoded they still fit beside any payload. */
const maxReason = 1000;
const headerRoom = 15_000;
const cursorKind = 'dead';

export function createGraveyard(options: GraveyardOptions): {
  readonly bury: Bury;
  readonly deadLetters: DeadLetters;
} {
  const { codec } = options;
  return {
    bury: async (message, death) => {
      const { stream, consumer, sequence, storedAt } = message;
      const place = `${stream} ${consumer} ${sequence} ${storedAt}`;
      const id = createHash('sha256').update(place).digest('hex').slice(0, 32);
      await write({ ...message, ...death, id, messageId: message.id }, options);
    },
    deadLetters: {
      ...createReading(options),
      put: async (message, death) => {
        const data = codec.encode(message);
        const { id, name, key, traceparent } = message;
        await write({ id, messageId: id, name, key, traceparent, data, attempts: 0, ...death }, options);
      },
      redrive: async (id) => redrive(id, options),
      remove: async (id) => {
        const found = await find(id, options);
        if (found !== undefined) await erase(found.seq, options);
      },
    },
  };
}

/** One that is there already is left as it is. */
async function write(body: Body, options: GraveyardOptions): Promise<void> {
  const { names, publisher, clock, maxPayload } = options;
  const headers = envelope(options.headers(), body);
  headers.delete(headerNames.id);
  headers.set(headerNames.deadId, encodeText(body.id));
  headers.set('Sluice-Message-Id', encodeText(body.messageId));
  headers.set(headerNames.consumer, encodeText(body.consumer));
  headers.set(headerNames.attempts, String(body.attempts));
  headers.set(headerNames.deadAt, String(Math.floor(clock.now())));
  headers.set('Nats-Expected-Last-Subject-Sequence', '0');
  const cut = body.data.length > maxPayload() - headerRoom;
  const data = cut ? body.data.slice(0, maxPayload() - headerRoom) : body.data;
  const reason = `${body.reason.slice(0, maxReason)}${cut ? ' (The payload is cut: it is too large for a dead letter.)' : ''}`;
  headers.set(headerNames.reason, encodeText(reason));
  const subject = names.subject('dlq', subjectToken(body.id));
  try {
    await publisher.send([{ subject, data, headers, what: 'store a dead letter' }]);
  } catch (error) {
    if (!isAppError(error, 'precondition_failed')) throw error;
  }
}

function createReading(options: GraveyardOptions): Pick<DeadLetters, 'list' | 'get' | 'count'> {
  const { jsm, requests, names } = options;
  const stream = streamNames(names).deadLetters;
  const state = async (): ReturnType<JetStreamManager['streams']['info']> => {
    try {
      return await jsm.streams.info(stream);
    } catch (error) {
      throw fromNatsError(error, 'read the dead letters');
    }
  };
  return {
    list: async ({ limit, cursor }) => {
      checkLimit(limit);
      const last = cursor === undefined ? undefined : decodeNumberCursor(cursorKind, cursor);
      const { first_seq: first, last_seq: newest } = (await state()).state;
      const before = Math.min(last ?? newest + 1, newest + 1);
      const found = await readNewest(requests, stream, { first: Math.max(1, first), before }, limit + 1);
      const items = found.slice(0, limit);
      const end = items.at(-1);
      return found.length > limit && end !== undefined
        ? { items: items.map(toDeadLetter), next: encodeCursor(cursorKind, String(end.sequence)) }
        : { items: items.map(toDeadLetter) };
    },
    get: async (id) => {
      const found = await find(id, options);
      return found === undefined ? undefined : toDeadLetter(storedOf(found));
    },
    count: async () => (await state()).state.messages,
  };
}

async function find(id: string, { jsm, names }: GraveyardOptions): Promise<StoredMsg | undefined> {
  if (id === '') return undefined;
  try {
    const subject = names.subject('dlq', subjectToken(id));
    return (
      (await jsm.streams.getMessage(streamNames(names).deadLetters, { last_by_subj: subject })) ?? undefined
    );
  } catch (error) {
    throw fromNatsError(error, 'read a dead letter');
  }
}

/** False where it was gone already. */
async function erase(sequence: number, { jsm, names }: GraveyardOptions): Promise<boolean> {
  try {
    // Unlike by default, the bytes stay until the file is written anew: overwriting them costs a write each.
    return await jsm.streams.deleteMessage(streamNames(names).deadLetters, sequence, false);
  } catch (error) {
    if (missing.has(jetStreamCode(error) ?? 0)) return false;
    throw fromNatsError(error, 'remove a dead letter');
  }
}

/** Of the server: no such message; its deletion failed, since there is none. */
const missing: ReadonlySet<number> = new Set([10_037, 10_043, 10_057]);

/**
 * Publishes a dead letter again, to the reader that could not handle it and to no other. Its new id says which dead letter it
 * was: two that redrive it at the same time publish one message.
 */
async function redrive(id: string, options: GraveyardOptions): Promise<string> {
  const found = await find(id, options);
  if (found === undefined) throw new AppError('not_found', `There is no dead letter ${id}.`);
  const letter = toDeadLetter(storedOf(found));
  const name = nameOf(letter);
  const data = Buffer.from(found.data);
  options.codec.decode(name, data.toString());
  const { key, traceparent } = letter;
  const message = {
    id: `redrive-${createHash('sha256').update(`${id} ${found.seq} ${found.timestamp}`).digest('hex').slice(0, 32)}`,
    name,
    ...(key === undefined ? {} : { key }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
  const subject = await targetOf(letter, name, options);
  const headers = envelope(options.headers(), message);
  await options.publisher.send([{ subject, data, headers, what: `publish ${name} again` }]);
  await erase(found.seq, options);
  return message.id;
}

async function targetOf(letter: DeadLetter, name: MessageName, options: GraveyardOptions): Promise<string> {
  const { names, eventReader } = options;
  if (catalogue[name].kind === 'cmd') return messageSubject(names, name, letter.key);
  const reader = await eventReader(letter.consumer);
  if (reader === undefined) {
    throw new AppError(
      'unprocessable',
      `The reader ${letter.consumer} of this dead letter does not exist any more.`,
    );
  }
  const key = letter.key === undefined ? [] : [subjectToken(letter.key)];
  return names.subject('redrive', reader, name, ...key);
}

function nameOf(letter: DeadLetter): MessageName {
  if (Object.hasOwn(catalogue, letter.name)) return letter.name as MessageName;
  throw new AppError('unprocessable', `There is no message named ${letter.name} any more.`);
}

function storedOf({ subject, seq, header, data }: StoredMsg): StoredMessage {
  return { subject, sequence: seq, headers: header, data };
}

function toDeadLetter({ headers, data }: StoredMessage): DeadLetter {
  const text = (name: string): string => decodeText(headers?.get(name) ?? '');
  const key = text(headerNames.key);
  const traceparent = text(headerNames.traceparent);
  return {
    id: text(headerNames.deadId),
    message_id: text('Sluice-Message-Id'),
    name: text(headerNames.name),
    ...(key === '' ? {} : { key }),
    payload: payloadOf(Buffer.from(data).toString()),
    ...(traceparent === '' ? {} : { traceparent }),
    consumer: text(headerNames.consumer),
    reason: text(headerNames.reason),
    attempts: Number(text(headerNames.attempts)),
    dead_at: Number(text(headerNames.deadAt)),
  };
}

/** A message may be dead just because this is no JSON. */
function payloadOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

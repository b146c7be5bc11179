import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import type { IncomingMessage } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { catalogue, type MessageName } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import { decodeText, headerNames } from './nats-names.ts';

/** A message as it lies in a stream. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly headers: MsgHdrs | undefined;
  readonly data: Uint8Array;
}

/** A message as a stream gave it to us. */
export interface ReceivedMessage {
  readonly stream: string;
  readonly consumer: string;
  /** Place in the stream. */
  readonly sequence: number;
  /** Nanoseconds of the epoch at which the stream took it. */
  readonly storedAt: string;
  /** How often the server delivered it, this time included. */
  readonly deliveries: number;
  /** Where it is acknowledged. */
  readonly reply: string;
  readonly id: string;
  readonly name: string;
  readonly key: string | undefined;
  readonly traceparent: string | undefined;
  readonly data: Uint8Array;
  /** @throws AppError `unprocessable` with a sentence for the dead letter */
  decode(codec: MessageCodec): IncomingMessage;
}

export interface MessageSource {
  readonly stream: string;
  readonly consumer: string;
  readonly nameOf: (subject: string) => MessageName | undefined;
}

/** Reads the envelope of a delivery: `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<deliveries>.<sequence>.<n>.<stored at>.<pending>.<random>`. */
export function readMessage({ stream, consumer, nameOf }: MessageSource, raw: Msg): ReceivedMessage {
  const reply = raw.reply ?? '';
  const tokens = reply.split('.');
  // Older servers leave out domain and account.
  const from = tokens.length === 9 ? 4 : 6;
  const [deliveries = '', sequence = '', , storedAt = ''] = tokens.slice(from);
  const name = nameOf(raw.subject);
  const stored = { subject: raw.subject, sequence: Number(sequence), headers: raw.headers, data: raw.data };
  const envelope = envelopeOf(name, stored, `${sequence}-${storedAt}`);
  return {
    stream,
    consumer,
    sequence: Number(sequence),
    storedAt,
    deliveries: Number(deliveries),
    reply,
    data: raw.data,
    ...envelope,
    name: name ?? raw.subject,
    decode: (codec) => decodeStored(codec, name, stored, envelope),
  };
}

/** A message of a stream that is looked at without being taken. @throws AppError `unprocessable` */
export function readStored(codec: MessageCodec, name: MessageName, stored: StoredMessage): IncomingMessage {
  return decodeStored(codec, name, stored, envelopeOf(name, stored, String(stored.sequence)));
}

type Envelope = Omit<IncomingMessage, 'name' | 'payload'>;

/** @param id of a message that somebody else published, without one */
function envelopeOf(
  name: MessageName | undefined,
  { headers, subject }: StoredMessage,
  id: string,
): Envelope {
  const header = (which: string): string | undefined => {
    const value = headers?.get(which) ?? '';
    return value === '' ? undefined : decodeText(value);
  };
  const keyed = name !== undefined && catalogue[name].keyed;
  return {
    id: header(headerNames.id) ?? id,
    key: keyed ? (header(headerNames.key) ?? subject.split('.').at(-1)) : undefined,
    traceparent: header(headerNames.traceparent),
  };
}

function decodeStored(
  codec: MessageCodec,
  name: MessageName | undefined,
  { data, subject }: StoredMessage,
  envelope: Envelope,
): IncomingMessage {
  if (name === undefined)
    throw new AppError('unprocessable', `No message is known by the subject ${subject}.`);
  return { ...envelope, name, payload: codec.decode(name, Buffer.from(data).toString()) };
}

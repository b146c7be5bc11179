import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import type { OutgoingMessage } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { AppError } from '../errors/index.ts';
import { fromAnswer } from './nats-errors.ts';
import { encodeText, headerNames, messageSubject, type NatsNames } from './nats-names.ts';
import type { Requests } from './nats-requests.ts';

/** A message as it goes to a stream. */
export interface Sendable {
  readonly subject: string;
  readonly data: Uint8Array | string;
  readonly headers: MsgHdrs;
  /** For an error: `publish runs.start`. */
  readonly what: string;
}

/** Stores messages, at most so many at a time. */
export interface Publisher {
  /** Resolves when all are stored; where some are refused, the others may be stored when it rejects. */
  send(messages: readonly Sendable[]): Promise<void>;
}

/** A server's JetStream answer to a message that it does not take. */
interface Refusal {
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

/** Messages that wait for their turn, at most; past it the caller is refused. */
const maxWaiting = 50_000;
const maxWindowBytes = 32 * 1024 * 1024;

export function createPublisher(requests: Requests, window: number): Publisher {
  const queue: (() => void)[] = [];
  let head = 0;
  let open = 0;
  let bytes = 0;

  const hasRoom = (): boolean => open < window && (open === 0 || bytes < maxWindowBytes);
  const next = (): void => {
    for (; hasRoom() && head < queue.length; head += 1) queue[head]?.();
    if (head === queue.length) {
      queue.length = 0;
      head = 0;
    }
  };
  const transmit = (message: Sendable, done: (error?: unknown) => void): void => {
    const size = message.data.length;
    open += 1;
    bytes += size;
    const settle = (error?: unknown): void => {
      open -= 1;
      bytes -= size;
      done(error);
      next();
    };
    requests.ask(message.subject, message.data, message.headers).then(
      (answer) => settle(refusalOf(answer, message)),
      (error: unknown) => settle(error),
    );
  };
  return {
    send: async (messages) => {
      if (messages.length === 0) return;
      if (queue.length - head + messages.length > maxWaiting && queue.length > head) {
        throw new AppError('unavailable', 'Too many messages wait to be sent to NATS; try again later.', {
          retryAfterSeconds: 1,
        });
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      let left = messages.length;
      let failure: unknown;
      for (const message of messages) {
        queue.push(() =>
          transmit(message, (error) => {
            failure ??= error;
            left -= 1;
            if (left > 0) return;
            if (failure === undefined) resolve();
            else reject(failure);
          }),
        );
      }
      next();
      await promise;
    },
  };
}

function refusalOf({ data }: Msg, { what }: Sendable): AppError | undefined {
  // `{"stream":…`: the answer that matters for speed. Anything else is looked at.
  if (data[2] === 0x73) return undefined;
  const answer = JSON.parse(Buffer.from(data).toString()) as Refusal;
  if (answer.error === undefined) return undefined;
  return fromAnswer(answer.error.err_code ?? 0, answer.error.description ?? '', what);
}

/** What the server counts beside a payload: headers. With room for those of a dead letter, so that every message can become one. */
const envelopeBytes = 16_384;

export interface EncoderOptions {
  readonly names: NatsNames;
  readonly codec: MessageCodec;
  readonly headers: () => MsgHdrs;
  /** Bytes that the server takes at once. */
  readonly maxPayload: () => number;
}

/** @throws AppError `invalid_input`, `too_large` */
export function encodeMessage(
  message: OutgoingMessage,
  { names, codec, headers, maxPayload }: EncoderOptions,
): Sendable {
  const { name, key } = message;
  const data = Buffer.from(codec.encode(message));
  if (data.length > maxPayload() - envelopeBytes) {
    throw new AppError(
      'too_large',
      `The payload of ${name} has ${data.length} bytes: NATS takes ${maxPayload() - envelopeBytes}.`,
      { details: { id: message.id } },
    );
  }
  const subject = messageSubject(names, name, key);
  return { subject, data, headers: envelope(headers(), message), what: `publish ${name}` };
}

export interface Envelope {
  readonly id: string;
  readonly name: string;
  readonly key?: string | undefined;
  readonly traceparent?: string | undefined;
}

/** The headers of a message. */
export function envelope(headers: MsgHdrs, { id, name, key, traceparent }: Envelope): MsgHdrs {
  headers.set(headerNames.id, encodeText(id));
  headers.set(headerNames.name, name);
  headers.set(headerNames.contentType, 'application/json');
  if (key !== undefined) headers.set(headerNames.key, encodeText(key));
  if (traceparent !== undefined) headers.set(headerNames.traceparent, encodeText(traceparent));
  return headers;
}

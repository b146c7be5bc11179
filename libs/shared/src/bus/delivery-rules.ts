import { catalogue } from '../contracts/index.ts';
import { AppError, isAppError, messageOf } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { ConsumerSpec, Delivery, MessageHandler } from './port.ts';

/** What a durable reader asked for; see `ConsumerSpec`. */
export interface Terms {
  readonly durable: string;
  readonly maxInFlight: number;
  readonly maxAttempts: number;
  readonly leaseMs: number;
}

const defaultMaxAttempts = 8;
const defaultLeaseMs = 30_000;

/** @throws AppError `invalid_input` with the field at fault */
export function termsOf(spec: ConsumerSpec): Terms {
  const { durable, maxInFlight, maxAttempts = defaultMaxAttempts, leaseMs = defaultLeaseMs } = spec;
  const unknown = spec.names.find((name) => !Object.hasOwn(catalogue, name));
  if (unknown !== undefined)
    throw new AppError('invalid_input', `There is no message named ${unknown}.`, { field: 'names' });
  const fault = [
    { field: 'durable', wrong: durable === '' },
    { field: 'names', wrong: spec.names.length === 0 },
    { field: 'maxInFlight', wrong: !Number.isInteger(maxInFlight) || maxInFlight < 1 },
    { field: 'maxAttempts', wrong: !Number.isInteger(maxAttempts) || maxAttempts < 1 },
    { field: 'leaseMs', wrong: !(leaseMs > 0) },
  ].find(({ wrong }) => wrong);
  if (fault === undefined) return { durable, maxInFlight, maxAttempts, leaseMs };
  throw new AppError('invalid_input', `The reader "${durable}" needs a valid ${fault.field}.`, {
    field: fault.field,
  });
}

/** Longest time that a message may be put off. */
export const longestDelayMs = 86_400_000;
const firstBackoffMs = 500;
export const longestBackoffMs = 60_000;

/** Milliseconds before the next delivery: doubled each time, half of it by chance, so that failures don't come back in step. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(firstBackoffMs * 2 ** Math.min(attempt - 1, 20), longestBackoffMs);
  return full * (0.5 + random / 2);
}

/** Settles a delivery by how its handler ends. Never rejects. */
export async function handleDelivery(
  handler: MessageHandler,
  delivery: Delivery,
  consumer: string,
  log: Logger,
): Promise<void> {
  const failure = await attempt(async () => handler(delivery));
  const settled = await attempt(async () => {
    if (failure === undefined) return delivery.ack();
    const { error } = failure;
    const fields = {
      err: error,
      consumer,
      message_id: delivery.message.id,
      message_name: delivery.message.name,
      attempt: delivery.attempt,
    };
    if (isAppError(error)) log.warn(fields, 'message not handled');
    else log.error(fields, 'message handler failed');
    return isHopeless(error, delivery.attempt)
      ? delivery.deadLetter(messageOf(error))
      : delivery.retry(messageOf(error));
  });
  if (settled === undefined) return;
  log.warn(
    { err: settled.error, consumer, message_id: delivery.message.id },
    'delivery not settled, it comes again',
  );
}

/** A server that is away comes back, however long it takes; what our own code stumbles over does so each time. */
function isHopeless(error: unknown, attempt: number): boolean {
  return isAppError(error) ? error.retry === 'never' : attempt >= defaultMaxAttempts;
}

async function attempt(work: () => Promise<void>): Promise<{ readonly error: unknown } | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return { error };
  }
}

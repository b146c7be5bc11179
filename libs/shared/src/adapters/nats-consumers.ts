import type { ConsumerConfig, JetStreamManager } from '@nats-io/jetstream';
import { AppError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { fromNatsError, jetStreamCode } from './nats-errors.ts';

/** A durable consumer of the server, as it should be. */
export interface ConsumerDefinition {
  readonly stream: string;
  readonly consumer: string;
  readonly filters: readonly string[];
  readonly leaseMs: number;
  /** Whether it begins with what comes from now on. */
  readonly fromNow: boolean;
  /** Milliseconds without a reader after which the server forgets it. */
  readonly forgetAfterMs?: number;
}

const nanos = (ms: number): number => Math.round(ms * 1_000_000);
const exists = 10_148;
const existsOtherwise = 10_105;
/** Of a work queue: a message may have one consumer only. */
const notUnique: ReadonlySet<number> = new Set([10_099, 10_100]);

/**
 * Makes a consumer, or changes it to what it should be; any number of processes may do that at once.
 * @throws AppError `conflict` when the messages are being worked off in another way
 */
export async function ensureConsumer(
  jsm: JetStreamManager,
  definition: ConsumerDefinition,
  log: Logger,
): Promise<void> {
  const { stream, consumer } = definition;
  const config = configOf(definition);
  try {
    try {
      await jsm.consumers.add(stream, config);
    } catch (error) {
      const code = jetStreamCode(error) ?? 0;
      if (code === exists || code === existsOtherwise) await jsm.consumers.update(stream, consumer, config);
      else if (notUnique.has(code)) {
        await removeOthers(jsm, definition, log);
        await jsm.consumers.add(stream, config);
      } else throw error;
    }
  } catch (error) {
    throw fromNatsError(error, `set up the reader ${consumer} of the stream ${stream}`);
  }
}

function configOf({
  consumer,
  filters,
  leaseMs,
  fromNow,
  forgetAfterMs,
}: ConsumerDefinition): Partial<ConsumerConfig> {
  const [first] = filters;
  return {
    durable_name: consumer,
    ...(filters.length === 1 && first !== undefined
      ? { filter_subject: first }
      : { filter_subjects: [...filters] }),
    ack_policy: 'explicit',
    deliver_policy: fromNow ? 'new' : 'all',
    ack_wait: nanos(leaseMs),
    // The adapter counts: at its own limit the server would deliver a message no more, and keep it.
    max_deliver: -1,
    // Messages that are put off count here; what is in hand is bounded by what is asked for.
    max_ack_pending: -1,
    ...(forgetAfterMs === undefined ? {} : { inactive_threshold: nanos(forgetAfterMs) }),
  };
}

/** A command is read as a whole or key by key. Whoever changes that takes over once nothing is in hand. */
async function removeOthers(
  jsm: JetStreamManager,
  { stream, consumer }: ConsumerDefinition,
  log: Logger,
): Promise<void> {
  for await (const other of jsm.consumers.list(stream)) {
    if (other.name === consumer) continue;
    if (other.num_ack_pending > 0 || other.num_waiting > 0) {
      throw new AppError(
        'conflict',
        `The messages of ${stream} are worked off by the reader ${other.name} already.`,
        { field: 'names' },
      );
    }
    await jsm.consumers.delete(stream, other.name);
    log.info({ stream, consumer: other.name }, 'reader removed: its messages are read in another way now');
  }
}

import { isAppError } from '../errors/index.ts';
import type { Clock, Component } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Bus, OutgoingMessage } from './port.ts';

/** Where messages wait that were stored together with the change they speak of (`RunLedger` is one). */
export interface Outbox {
  /** Oldest first. */
  readOutbox(limit: number): Promise<readonly OutboxItem[]>;
  removeFromOutbox(seqs: readonly string[]): Promise<void>;
  /** Calls back soon after the outbox got something. A hint. */
  onOutbox(listener: () => void): () => void;
}

interface OutboxItem {
  readonly seq: string;
  readonly message: OutgoingMessage;
}

export interface OutboxRelayOptions {
  readonly ledger: Outbox;
  readonly bus: Pick<Bus, 'publish'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Messages a round. @default 500 */
  readonly batch?: number;
}

/** The hint may be missed: what waits is looked for this often, milliseconds. */
const lookEveryMs = 1000;
const firstBackoffMs = 100;
const longestBackoffMs = 10_000;

/**
 * Moves messages from an outbox to the bus: publishes a batch, then removes it. A crash between the two publishes it
 * again under the same ids. While the bus is away it tries again for ever, ever more slowly.
 */
export function createOutboxRelay(options: OutboxRelayOptions): Component {
  const { ledger, clock } = options;
  let running: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  let failure: { readonly error: unknown } | undefined;
  const bell = createBell(clock);

  const run = async (stopped: AbortSignal): Promise<void> => {
    let backoffMs = firstBackoffMs;
    while (!stopped.aborted) {
      bell.hush();
      try {
        const more = await moveBatch(options);
        failure = undefined;
        backoffMs = firstBackoffMs;
        if (!more) await bell.wait(lookEveryMs, stopped);
      } catch (error) {
        if (failure === undefined)
          options.log.warn({ err: error }, 'outbox cannot be published, trying again');
        failure = { error };
        // Not woken by the bell here: arrivals don't bring the bus back.
        await pause(clock, backoffMs, stopped);
        backoffMs = Math.min(backoffMs * 2, longestBackoffMs);
      }
    }
  };

  return {
    name: 'outbox-relay',
    start: async () => {
      if (running !== undefined) return;
      const abort = new AbortController();
      const silence = ledger.onOutbox(bell.ring);
      running = { abort, done: run(abort.signal).finally(silence) };
    },
    stop: async () => {
      running?.abort.abort();
      await running?.done;
      running = undefined;
    },
    check: async () => {
      if (failure !== undefined) throw failure.error;
    },
  };
}

/** True when there may be more. */
async function moveBatch(options: OutboxRelayOptions): Promise<boolean> {
  const limit = options.batch ?? 500;
  const items = await options.ledger.readOutbox(limit);
  if (items.length === 0) return false;
  try {
    await options.bus.publish(items.map((item) => item.message));
  } catch (error) {
    if (!concernsOne(error)) throw error;
    await moveByName(items, options);
    return true;
  }
  await options.ledger.removeFromOutbox(items.map((item) => item.seq));
  return items.length === limit;
}

/** A message that breaks its contract or a stream that is full spoils a batch; the rest of it need not wait. */
function concernsOne(error: unknown): boolean {
  return isAppError(error) && (error.retry === 'never' || error.code === 'limit_reached');
}

async function moveByName(items: readonly OutboxItem[], options: OutboxRelayOptions): Promise<void> {
  const groups = Map.groupBy(items, (item) => item.message.name);
  const failures: unknown[] = [];
  for (const group of groups.values()) {
    const left = await moveGroup(group, options);
    if (left !== undefined) failures.push(left.error);
  }
  if (failures.length > 0) throw failures[0];
}

async function moveGroup(
  group: readonly OutboxItem[],
  { bus, ledger, log }: OutboxRelayOptions,
): Promise<{ readonly error: unknown } | undefined> {
  const gone: string[] = [];
  let left: { readonly error: unknown } | undefined;
  for (const { seq, message } of group) {
    try {
      await bus.publish([message]);
      gone.push(seq);
    } catch (error) {
      left = { error };
      if (!isAppError(error) || error.retry !== 'never') break;
      // It can't be published today nor ever, and would come first in every batch. The change it speaks of is stored;
      // what it would have started is found by the sweeper.
      left = undefined;
      log.error(
        { err: error, message_id: message.id, message_name: message.name },
        'message dropped from the outbox',
      );
      gone.push(seq);
    }
  }
  if (gone.length > 0) await ledger.removeFromOutbox(gone);
  return left;
}

interface Bell {
  readonly ring: () => void;
  /** Forgets rings so far. */
  hush(): void;
  /** Resolves at the next ring (or the one since `hush`), after `ms`, or when stopped. */
  wait(ms: number, stopped: AbortSignal): Promise<void>;
}

function createBell(clock: Clock): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    ring: () => {
      rung = true;
      wake?.();
    },
    hush: () => {
      rung = false;
    },
    wait: async (ms, stopped) => {
      if (rung) return;
      const woken = new AbortController();
      wake = () => woken.abort();
      await pause(clock, ms, AbortSignal.any([stopped, woken.signal]));
      wake = undefined;
    },
  };
}

/** Sleeps, or less when the signal says so. */
async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

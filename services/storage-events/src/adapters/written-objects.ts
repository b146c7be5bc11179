import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectHead } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { NotificationHandlers, ObjectNotification } from '../ports.ts';
import { createWake } from '../wake.ts';

/** Hands over objects that were written through the store: complete, with their metadata, without any wait. */
export interface WrittenObjects {
  /** Never blocks. False when too many wait: then they have to be found by listing. */
  add(object: ObjectHead): boolean;
  stop(): Promise<void>;
}

export interface WrittenObjectsDeps {
  readonly handlers: NotificationHandlers;
  readonly onDelivered: (object: ObjectHead) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

const batch = 500;
const limit = 20_000;
const firstBackoffMs = 250;
const longestBackoffMs = 30_000;

export function createWrittenObjects(deps: WrittenObjectsDeps): WrittenObjects {
  const { handlers, clock, log } = deps;
  const wake = createWake(clock);
  let waiting: ObjectNotification[] = [];
  const state = { stopped: false };
  let backoff = 0;
  const deliver = async (): Promise<void> => {
    const part = waiting.slice(0, batch);
    try {
      await handlers.onNotifications(part);
    } catch (error) {
      backoff = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff * 2));
      log.warn(
        { err: error, objects: part.length, retry_ms: backoff },
        'objects were not taken, they are given again',
      );
      return;
    }
    backoff = 0;
    waiting = waiting.slice(part.length);
    for (const { object } of part) deps.onDelivered(object);
  };
  const run = async (): Promise<void> => {
    while (!state.stopped) {
      if (waiting.length === 0) await wake.wait(Number.POSITIVE_INFINITY);
      else if (backoff > 0) await clock.sleep(backoff);
      if (!state.stopped && waiting.length > 0) await deliver();
    }
  };
  const running = run();
  return {
    add: (object) => {
      if (waiting.length >= limit) return false;
      waiting.push({ object, seenAt: clock.monotonic() });
      wake.ring();
      return true;
    },
    stop: async () => {
      state.stopped = true;
      wake.ring();
      await running;
    },
  };
}

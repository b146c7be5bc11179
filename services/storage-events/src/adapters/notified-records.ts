import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { checkObjectKey, type ObjectHead, type ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { notifiedObject } from '../domain/notified-object.ts';
import type { NotificationRecord } from '../domain/parse-notification.ts';
import { mapLimited } from '../limited.ts';
import type { NotificationHandlers, ObjectNotification } from '../ports.ts';
import { createWake } from '../wake.ts';

/** Hands over what notifications told of, in batches. */
export interface NotifiedRecords {
  /** Never blocks. False when too many wait: then their objects have to be found by listing. */
  add(record: NotificationRecord): boolean;
  stop(): Promise<void>;
}

export interface NotifiedRecordsDeps {
  readonly handlers: NotificationHandlers;
  readonly objects: Pick<ObjectStore, 'head'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const batch = 500;
const limit = 20_000;
const headsAtOnce = 32;
const firstBackoffMs = 250;
const longestBackoffMs = 30_000;

export function createNotifiedRecords(deps: NotifiedRecordsDeps): NotifiedRecords {
  const { clock } = deps;
  const wake = createWake(clock);
  const stopping = new AbortController();
  let waiting: NotificationRecord[] = [];
  const run = async (): Promise<void> => {
    let backoff = 0;
    while (!stopping.signal.aborted) {
      if (waiting.length === 0) await wake.wait(Number.POSITIVE_INFINITY);
      else if (backoff > 0) await clock.sleep(backoff, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted || waiting.length === 0) continue;
      const part = waiting.slice(0, batch);
      try {
        await deliver(deps, part);
        waiting = waiting.slice(part.length);
        backoff = 0;
      } catch (error) {
        backoff = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff * 2));
        const fields = { err: error, objects: part.length, retry_ms: backoff };
        deps.log.warn(fields, 'objects were not taken, they are given again');
      }
    }
  };
  const running = run();
  return {
    add: (record) => {
      if (waiting.length >= limit) return false;
      waiting.push(record);
      wake.ring();
      return true;
    },
    stop: async () => {
      stopping.abort();
      wake.ring();
      await running;
    },
  };
}

async function deliver(deps: NotifiedRecordsDeps, records: readonly NotificationRecord[]): Promise<void> {
  const found = await mapLimited(records, headsAtOnce, async (record) => notificationOf(deps, record));
  const objects = found.filter((one) => one !== undefined);
  if (objects.length > 0) await deps.handlers.onNotifications(objects);
}

/** The object as it was told, or else as it is now. Undefined where it is gone. */
async function notificationOf(
  deps: NotifiedRecordsDeps,
  record: NotificationRecord,
): Promise<ObjectNotification | undefined> {
  const { bucket, key, eventTime, user } = record;
  // A marker of a folder is no file.
  if (key.endsWith('/')) return undefined;
  let object: ObjectHead | undefined;
  try {
    checkObjectKey(key);
    object = notifiedObject(record);
    object ??= await deps.objects.head(bucket, key);
  } catch (error) {
    if (isAppError(error, 'not_found')) return undefined;
    if (!isAppError(error, 'invalid_input')) throw error;
    deps.log.warn({ err: error, bucket }, 'an object has a name that Sluice cannot use: it is left alone');
    return undefined;
  }
  if (object === undefined) return undefined;
  return {
    object,
    ...(eventTime === undefined ? {} : { eventTime }),
    ...(user === undefined ? {} : { user }),
  };
}

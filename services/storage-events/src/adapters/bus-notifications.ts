import type { Bus, Subscription } from '@sluice/shared/bus';
import { AppError, isAppError } from '@sluice/shared/errors';
import { systemClock, type Clock } from '@sluice/shared/lifecycle';
import { checkObjectKey, type BucketPath, type ObjectHead, type ObjectStore } from '@sluice/shared/stores';
import { createServiceIndex, matchServices, type ServiceIndex } from '../domain/match.ts';
import { notificationIdentity, notifiedObject } from '../domain/notified-object.ts';
import { parseNotification, type NotificationRecord } from '../domain/parse-notification.ts';
import { mapLimited } from '../limited.ts';
import type { NotificationSource, ObjectNotification } from '../ports.ts';
import { createTogether, type Together } from './together.ts';

export interface BusNotificationsDeps {
  readonly bus: Bus;
  readonly objects: Pick<ObjectStore, 'head'>;
  /**
   * Where an object's state comes from: the store, or the notification as far as it tells it (MinIO tells all of it, so that the
   * store is not asked at all). @default 'store'
   */
  readonly identity?: 'store' | 'notification';
  /** @default the machine's */
  readonly clock?: Clock;
}

const headsAtOnce = 16;
const drainMs = 10_000;
const inFlight = 256;
/** The S3 server comes back to the bus in its own time, and what it would have said until then is lost: the gap is listed once more. */
const secondListingMs = 10_000;

/**
 * An S3 server's notifications, which wait on the bus as they came (`storage.notify`). A message is done once all of its
 * objects are claimed; one that can't be read goes to the dead letters. What the server tells of others' buckets is passed over.
 * While the bus is away the server's word is lost, so that all is listed when it is back.
 */
export function createBusNotifications(deps: BusNotificationsDeps): NotificationSource {
  const current: { paths: readonly BucketPath[]; wanted: ServiceIndex } = { paths: [], wanted: new Map() };
  const ending: (() => Promise<void>)[] = [];
  return {
    start: async (handlers) => {
      const together = createTogether(handlers);
      const stopGaps = await followGaps(deps, () => {
        for (const path of current.paths) handlers.onGap(path);
      });
      ending.push(stopGaps);
      const subscription: Subscription = await deps.bus.subscribe(
        {
          durable: 'storage-events-notify',
          names: ['storage.notify'],
          maxInFlight: inFlight,
          // Most of a day, while the ledger is away.
          maxAttempts: 1000,
        },
        async ({ message }) => take(deps, together, message.payload, current.wanted),
      );
      ending.push(async () => subscription.drain(drainMs));
    },
    setPrefixes: async (paths) => {
      current.paths = paths;
      current.wanted = createServiceIndex([{ name: '', uid: '', inputs: paths }]);
    },
    stop: async () => {
      for (const end of ending.splice(0)) await end();
    },
  };
}

/** A bus tells of gaps only to listeners; this one listens for what is hardly ever said. */
async function followGaps(
  { bus, clock = systemClock }: BusNotificationsDeps,
  gap: () => void,
): Promise<() => Promise<void>> {
  const stopping = new AbortController();
  const again = async (): Promise<void> => {
    await clock.sleep(secondListingMs, stopping.signal);
    gap();
  };
  const listening = await bus.listen(
    ['runners.ask'],
    () => undefined,
    () => {
      gap();
      // Rejects only where it is stopped meanwhile.
      again().catch(() => undefined);
    },
  );
  return async () => {
    stopping.abort();
    await listening.stop();
  };
}

async function take(
  deps: BusNotificationsDeps,
  together: Together,
  body: unknown,
  wanted: ServiceIndex,
): Promise<void> {
  const records = parseNotification(body).records.filter(({ bucket }) => wanted.has(bucket));
  const found = await mapLimited(records, headsAtOnce, async (record) => {
    checkKey(record);
    // Nobody's input. A service that appears just now has its paths listed.
    if (matchServices(wanted, record.bucket, record.key).length === 0) return undefined;
    return notificationOf(deps, record);
  });
  const batch = found.filter((one) => one !== undefined);
  if (batch.length > 0) await together.hand(batch);
}

/** @throws AppError `invalid_input`, so that the message goes to the dead letters */
function checkKey({ key }: NotificationRecord): void {
  // A marker of a folder is no object of ours, but no fault either.
  if (key.endsWith('/')) return;
  try {
    checkObjectKey(key);
  } catch (error) {
    if (!isAppError(error, 'invalid_input')) throw error;
    throw new AppError(
      'invalid_input',
      `The notification names an object that cannot exist: ${error.message}`,
      { cause: error, field: error.field ?? 'key' },
    );
  }
}

/** Undefined where the object is gone again. */
async function notificationOf(
  deps: BusNotificationsDeps,
  record: NotificationRecord,
): Promise<ObjectNotification | undefined> {
  const told = deps.identity === 'notification' ? notifiedObject(record) : undefined;
  const object = told ?? (await lookAt(deps, record));
  if (object === undefined) return undefined;
  return {
    object,
    ...(record.eventTime === undefined ? {} : { eventTime: record.eventTime }),
    ...(record.user === undefined ? {} : { user: record.user }),
  };
}

async function lookAt(
  deps: BusNotificationsDeps,
  record: NotificationRecord,
): Promise<ObjectHead | undefined> {
  try {
    const head = await deps.objects.head(record.bucket, record.key);
    if (head === undefined || deps.identity !== 'notification') return head;
    return withIdentity(head, record);
  } catch (error) {
    // The bucket has gone with it.
    if (isAppError(error, 'not_found')) return undefined;
    throw error;
  }
}

/** The notification's identity is that of the state it tells of; where that state is gone, its successor has its own. */
function withIdentity(head: ObjectHead, record: NotificationRecord): ObjectHead {
  const identity = notificationIdentity(record);
  return identity === undefined || record.etag !== head.etag ? head : { ...head, identity };
}

import type { Bus, Subscription } from '@sluice/shared/bus';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { ObjectHead, ObjectStore } from '@sluice/shared/stores';
import { notificationIdentity } from '../domain/notification-identity.ts';
import { parseNotification, type NotificationRecord } from '../domain/parse-notification.ts';
import { mapLimited } from '../limited.ts';
import type { NotificationHandlers, NotificationSource, ObjectNotification } from '../ports.ts';

export interface BusNotificationsDeps {
  readonly bus: Bus;
  readonly objects: Pick<ObjectStore, 'head'>;
  /**
   * Where an object's identity comes from: the store, or the notification where it holds one (MinIO, whose HEAD knows
   * whole seconds only). @default 'store'
   */
  readonly identity?: 'store' | 'notification';
}

const headsAtOnce = 16;
const drainMs = 10_000;

/**
 * An S3 server's notifications, which wait on the bus as they came (`storage.notify`). A message is done once all of its
 * objects are claimed; one that can't be read goes to the dead letters. Watching is the server's business, so prefixes need
 * no setting here.
 */
export function createBusNotifications(deps: BusNotificationsDeps): NotificationSource {
  const current: { subscription?: Subscription } = {};
  return {
    start: async (handlers) => {
      current.subscription = await deps.bus.subscribe(
        { durable: 'storage-events-notify', names: ['storage.notify'], maxInFlight: 64, maxAttempts: 100 },
        async ({ message }) => take(deps, handlers, message.payload),
      );
    },
    setPrefixes: async () => {},
    stop: async () => {
      const { subscription } = current;
      delete current.subscription;
      await subscription?.drain(drainMs);
    },
  };
}

async function take(
  deps: BusNotificationsDeps,
  handlers: NotificationHandlers,
  body: unknown,
): Promise<void> {
  const { records } = parseNotification(body);
  const found = await mapLimited(records, headsAtOnce, async (record) => notificationOf(deps, record));
  const batch = found.filter((one) => one !== undefined);
  if (batch.length > 0) await handlers.onNotifications(batch);
}

/** Undefined where the object is gone again. */
async function notificationOf(
  deps: BusNotificationsDeps,
  record: NotificationRecord,
): Promise<ObjectNotification | undefined> {
  const head = await headOf(deps, record);
  if (head === undefined) return undefined;
  return {
    object: deps.identity === 'notification' ? withIdentity(head, record) : head,
    ...(record.eventTime === undefined ? {} : { eventTime: record.eventTime }),
    ...(record.user === undefined ? {} : { user: record.user }),
  };
}

async function headOf(
  deps: BusNotificationsDeps,
  record: NotificationRecord,
): Promise<ObjectHead | undefined> {
  const { bucket, key } = record;
  try {
    return await deps.objects.head(bucket, key);
  } catch (error) {
    if (isAppError(error, 'not_found')) return undefined;
    if (!isAppError(error, 'invalid_input')) throw error;
    throw new AppError(
      'invalid_input',
      `The notification names an object that cannot exist: ${error.message}`,
      {
        cause: error,
        field: error.field ?? 'key',
      },
    );
  }
}

/** The notification's identity is that of the state it tells of; where that state is gone, its successor has its own. */
function withIdentity(head: ObjectHead, record: NotificationRecord): ObjectHead {
  const identity = notificationIdentity(record);
  return identity === undefined || record.etag !== head.etag ? head : { ...head, identity };
}

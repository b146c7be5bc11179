import { s3Identity } from '@sluice/shared/contracts';
import type { NotificationRecord } from './parse-notification.ts';

const hex = /^[0-9a-f]{1,32}$/i;

/**
 * The identity of the object that a notification tells of, or undefined where the notification does not hold it and the
 * key has to be listed. MinIO's `sequencer` is the time of writing in hex nanoseconds and equals the listing's
 * `LastModified` once it is cut to milliseconds; its `eventTime` is 1 to 2 ms off and never used. The sequencers of other
 * servers only give an order.
 */
export function notificationIdentity(record: NotificationRecord): string | undefined {
  const { etag, sequencer } = record;
  if (record.server !== 'minio' || etag === undefined || sequencer === undefined || !hex.test(sequencer)) {
    return undefined;
  }
  return s3Identity({ etag, lastModifiedMs: BigInt(`0x${sequencer}`) / 1_000_000n });
}

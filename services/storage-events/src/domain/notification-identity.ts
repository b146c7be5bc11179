import type { NotificationRecord } from './parse-notification.ts';

const hex = /^[0-9a-f]{1,32}$/i;

/**
 * The identity of an S3 object in one state: what an event and a listing of that state both give, so that both lead to the
 * same run. Its version where the bucket keeps versions, else etag and time of writing in milliseconds.
 * @param lastModifiedMs as a listing has it; HEAD gives whole seconds only
 */
export function s3Identity(object: { versionId?: string; etag: string; lastModifiedMs: bigint }): string {
  return object.versionId === undefined ? `${object.etag}-${object.lastModifiedMs}` : `v-${object.versionId}`;
}

/**
 * The identity of the object that a notification tells of, or undefined where the notification does not hold it and the
 * key has to be listed. MinIO's `sequencer` is the time of writing in hex nanoseconds and equals the listing's
 * `LastModified` once it is cut to milliseconds; its `eventTime` is 1 to 2 ms off and never used. The sequencers of other
 * servers only give an order.
 */
export function notificationIdentity(record: NotificationRecord): string | undefined {
  const { versionId, etag, sequencer } = record;
  if (versionId !== undefined) return s3Identity({ versionId, etag: etag ?? '', lastModifiedMs: 0n });
  if (record.server !== 'minio' || etag === undefined || sequencer === undefined || !hex.test(sequencer)) {
    return undefined;
  }
  return s3Identity({ etag, lastModifiedMs: BigInt(`0x${sequencer}`) / 1_000_000n });
}

import { s3Identity } from '@sluice/shared/contracts';
import type { ObjectHead } from '@sluice/shared/stores';
import type { NotificationRecord } from './parse-notification.ts';

const hex = /^[0-9a-f]{1,32}$/i;
const metadataPrefix = 'x-amz-meta-';
/** What HEAD and the notification write alike; other characters come by HEAD in another encoding. */
const plain = /^[\x20-\x7e]*$/;
/** An encrypted object's size and etag may be those of what is stored. */
const encryption = 'x-amz-server-side-encryption';

/**
 * The identity of the object that a notification tells of, or undefined where the notification does not hold it and the
 * key has to be listed. MinIO's `sequencer` is the time of writing in hex nanoseconds and equals the listing's
 * `LastModified` once it is cut to milliseconds; its `eventTime` is 1 to 2 ms off and never used. The sequencers of other
 * servers only give an order.
 */
export function notificationIdentity(record: NotificationRecord): string | undefined {
  const lastModified = writtenAt(record);
  if (lastModified === undefined || record.etag === undefined) return undefined;
  return s3Identity({ etag: record.etag, lastModifiedMs: lastModified });
}

/**
 * The object in the state that a notification tells of, as HEAD and a listing would say it, so that nobody need ask the server. Undefined where
 * something is missing from it: any server but MinIO, encrypted objects, metadata beyond ASCII.
 */
export function notifiedObject(record: NotificationRecord): ObjectHead | undefined {
  const { bucket, key, size, etag, contentType } = record;
  const [identity, lastModifiedMs] = [notificationIdentity(record), writtenAt(record)];
  const metadata = metadataOf(record);
  if (identity === undefined || lastModifiedMs === undefined || etag === undefined) return undefined;
  if (metadata === undefined || contentType === undefined || !plain.test(contentType)) return undefined;
  const lastModified = Number(lastModifiedMs);
  return {
    bucket,
    key,
    size,
    etag,
    identity,
    lastModified,
    changedAt: lastModified,
    contentType,
    metadata,
  };
}

/** Epoch milliseconds. */
function writtenAt({ server, sequencer }: NotificationRecord): bigint | undefined {
  if (server !== 'minio' || sequencer === undefined || !hex.test(sequencer)) return undefined;
  const milliseconds = BigInt(`0x${sequencer}`) / 1_000_000n;
  return milliseconds <= BigInt(Number.MAX_SAFE_INTEGER) ? milliseconds : undefined;
}

function metadataOf(record: NotificationRecord): Readonly<Record<string, string>> | undefined {
  if (record.metadata === undefined) return undefined;
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(record.metadata)) {
    const lower = name.toLowerCase();
    if (lower.startsWith(encryption)) return undefined;
    if (!lower.startsWith(metadataPrefix)) continue;
    if (!plain.test(value) || !plain.test(lower)) return undefined;
    metadata[lower.slice(metadataPrefix.length)] = value;
  }
  return metadata;
}

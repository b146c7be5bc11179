import { createHash } from 'node:crypto';

/** 128 bits of a SHA-256 in the shape of a UUID (version 8, RFC 9562 §5.8: content defined by us). */
function hashUuid(parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part};`);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** OSCAR §4.3: the service's name, or its first 16 characters where it has 25 or more, then a UUID. */
export function runName(service: string, uuid: string): string {
  return `${service.length >= 25 ? service.slice(0, 16) : service}-${uuid}`;
}

/**
 * The run that an object in one state gets from a service: the same for a notification and a listing,
 * another once the object or the service was made anew.
 */
export function objectRunId(
  service: string,
  serviceUid: string,
  object: { bucket: string; key: string; identity: string },
): string {
  return runName(service, hashUuid(['object', serviceUid, object.bucket, object.key, object.identity]));
}

/** The run of a `/job` call that carries an `Idempotency-Key`. */
export function idempotentRunId(service: string, serviceUid: string, idempotencyKey: string): string {
  return runName(service, hashUuid(['job', serviceUid, idempotencyKey]));
}

/**
 * The run that a backfill with `again` gives to an object that has had its run.
 * @param objectRun what `objectRunId` gives for the object
 */
export function backfillRunId(service: string, objectRun: string, backfillId: string): string {
  return runName(service, hashUuid(['backfill', backfillId, objectRun]));
}

import type { ObjectHead } from '@sluice/shared/stores';

export interface ObjectEventContext {
  /** Epoch milliseconds of the event. */
  readonly eventTime: number;
  readonly user: string | undefined;
  readonly region: string;
}

/** Farthest time from the epoch that a date can have (ECMAScript, time values). */
const maxTime = 8.64e15;
/** Who wrote an object when nobody said. */
const unknownUser = 'sluice';

/**
 * The event that a script finds in `EVENT`: one record in MinIO's form and key order (OSCAR §4.1), whatever store and
 * source the object came from.
 */
export function objectEvent(object: ObjectHead, context: ObjectEventContext): string {
  const { bucket, key } = object;
  const principalId = context.user ?? unknownUser;
  return JSON.stringify({
    EventName: 's3:ObjectCreated:Put',
    Key: `${bucket}/${key}`,
    Records: [
      {
        eventVersion: '2.0',
        eventSource: 'minio:s3',
        awsRegion: context.region,
        eventTime: isoTime(context.eventTime),
        eventName: 's3:ObjectCreated:Put',
        userIdentity: { principalId },
        requestParameters: { principalId, region: context.region, sourceIPAddress: '127.0.0.1' },
        responseElements: {},
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: 'Config',
          bucket: { name: bucket, ownerIdentity: { principalId }, arn: `arn:aws:s3:::${bucket}` },
          object: {
            key: encodeEventKey(key),
            size: object.size,
            eTag: object.etag,
            contentType: object.contentType,
            userMetadata: userMetadata(object),
            ...(object.versionId === undefined ? {} : { versionId: object.versionId }),
            sequencer: sequencerOf(object.lastModified),
          },
        },
        source: { host: '', port: '', userAgent: 'Sluice' },
      },
    ],
  });
}

/** A key as S3 events carry it: percent-encoded as in a form (Go's `url.QueryEscape`), so also slashes, and `+` for a space. */
export function encodeEventKey(key: string): string {
  return encodeURIComponent(key)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}

/** MinIO's sequencer: the time of writing in nanoseconds, upper-case hex. */
function sequencerOf(lastModified: number): string {
  const milliseconds = BigInt(Math.trunc(clampTime(lastModified)));
  return BigInt.asUintN(64, milliseconds * 1_000_000n)
    .toString(16)
    .toUpperCase();
}

function userMetadata(object: ObjectHead): Record<string, string> {
  const named: Record<string, string> = { 'content-type': object.contentType };
  for (const [name, value] of Object.entries(object.metadata))
    named[`X-Amz-Meta-${canonicalName(name)}`] = value;
  return named;
}

/** `sluice-hop` → `Sluice-Hop`: header names as a Go server hands them on. */
function canonicalName(name: string): string {
  return name.replace(/(?:^|-)[a-z]/g, (start) => start.toUpperCase());
}

function isoTime(at: number): string {
  return new Date(clampTime(at)).toISOString();
}

/** File times can be anything, and a date out of range would throw. */
function clampTime(at: number): number {
  if (Number.isNaN(at)) return 0;
  return Math.max(-maxTime, Math.min(maxTime, at));
}

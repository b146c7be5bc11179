import type { BucketInfo, ObjectInfo } from '@sluice/shared/stores';
import { Type, type Static } from 'typebox';

const BucketFields = {
  bucket_name: Type.String(),
  visibility: Type.String(),
  allowed_users: Type.Union([Type.Array(Type.String()), Type.Null()]),
  owner: Type.String(),
  metadata: Type.Record(Type.String(), Type.String()),
};
const Measured = {
  storage_quota: Type.Object({ source: Type.String() }),
  storage_usage: Type.Object({ used: Type.String(), used_bytes: Type.Integer(), objects: Type.Integer() }),
  attribution: Type.String(),
};

/** One entry of `GET /system/buckets` (OSCAR §12.3). */
export const BucketEntry = Type.Object({ ...BucketFields, ...Measured }, { title: 'Bucket' });
export type BucketEntry = Static<typeof BucketEntry>;

/** `GET /system/buckets/{bucket}` (OSCAR §1.7). */
export const BucketListing = Type.Object(
  {
    ...BucketFields,
    objects: Type.Array(
      Type.Object({ object_name: Type.String(), size_bytes: Type.Integer(), last_modified: Type.String() }),
    ),
    ...Measured,
    next_page: Type.Optional(Type.String()),
    is_truncated: Type.Boolean(),
    returned_items: Type.Integer(),
  },
  { title: 'BucketListing' },
);
export type BucketListing = Static<typeof BucketListing>;

/** What clients send to create or change a bucket (OSCAR §1.7). */
export const BucketInput = Type.Object(
  {
    bucket_name: Type.String(),
    visibility: Type.String(),
    allowed_users: Type.Array(Type.String()),
  },
  { title: 'BucketInput' },
);
export type BucketInput = Static<typeof BucketInput>;

export const visibilities = ['private', 'restricted', 'public'] as const;

/** Tags of ours; those about access are shown as fields of their own. */
export const bucketTags = {
  owner: 'owner',
  ownerName: 'owner_name',
  fromService: 'from_service',
  service: 'service',
  visibility: 'visibility',
  allowedUsers: 'allowed_users',
} as const;

/** Uids never have a space in them, and a tag may hold one (S3's set of characters). */
const separator = ' ';
const maxTagLength = 256;

/** The tags that say who may use a bucket; undefined where the users don't fit into one. */
export function accessTags(visibility: string, users: readonly string[]): Record<string, string> | undefined {
  const list = users
    .map((user) => user.trim())
    .filter((user) => user !== '')
    .join(separator);
  if (list.length > maxTagLength) return undefined;
  return {
    [bucketTags.visibility]: visibility,
    ...(list === '' || visibility !== 'restricted' ? {} : { [bucketTags.allowedUsers]: list }),
  };
}

interface Usage {
  readonly bytes: number;
  readonly objects: number;
  readonly complete: boolean;
}

/** The fields that both answers share; `metadata` keeps the owner in the single bucket's answer only (OSCAR §1.7). */
function fieldsOf(bucket: BucketInfo, usage: Usage) {
  const { tags } = bucket;
  const visibility = tags[bucketTags.visibility] ?? 'private';
  const own = new Set<string>([bucketTags.visibility, bucketTags.allowedUsers]);
  const users = tags[bucketTags.allowedUsers];
  return {
    described: {
      bucket_name: bucket.name,
      visibility,
      allowed_users: visibility === 'restricted' ? (users?.split(separator) ?? []) : null,
      metadata: Object.fromEntries(Object.entries(tags).filter(([name]) => !own.has(name))),
    },
    measured: {
      storage_quota: { source: 'unset' },
      storage_usage: { used: binaryUnits(usage.bytes), used_bytes: usage.bytes, objects: usage.objects },
      attribution: usage.complete ? 'complete' : 'partial',
    },
  };
}

export function bucketEntry(bucket: BucketInfo, usage: Usage): BucketEntry {
  const { described, measured } = fieldsOf(bucket, usage);
  const { owner = '', ...metadata } = described.metadata;
  return { ...described, owner, metadata, ...measured };
}

export function bucketListing(
  bucket: BucketInfo,
  usage: Usage,
  page: { objects: readonly ObjectInfo[]; next?: string },
): BucketListing {
  const { described, measured } = fieldsOf(bucket, usage);
  const owner = bucket.tags[bucketTags.owner] ?? '';
  return {
    ...described,
    owner: owner === '' ? 'cluster_admin' : owner,
    objects: page.objects.map(({ key, size, lastModified }) => ({
      object_name: key,
      size_bytes: size,
      last_modified: goTime(lastModified),
    })),
    ...measured,
    ...(page.next === undefined ? {} : { next_page: Buffer.from(page.next).toString('base64url') }),
    is_truncated: page.next !== undefined,
    returned_items: page.objects.length,
  };
}

/** The key behind a `page` that `bucketListing` gave out; undefined for any other text. */
export function keyOfPage(page: string): string | undefined {
  const key = Buffer.from(page, 'base64url').toString('utf8');
  return key !== '' && Buffer.from(key).toString('base64url') === page ? key : undefined;
}

/** What Go prints of a time: `2026-01-02 03:04:05 +0000 UTC`. */
function goTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}

/** Bytes in binary units with one decimal, `.0` dropped: `1.5Mi`, `50Mi`, `0` (OSCAR §1.7). */
export function binaryUnits(bytes: number): string {
  const units = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1).replace(/\.0$/, '')}${units[unit] ?? ''}`;
}

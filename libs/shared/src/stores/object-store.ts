import type { Readable } from 'node:stream';
import type { Page } from '../bus/index.ts';

/** The bucket of Sluice itself: events, scripts. No service may name it and no bucket route shows it. */
export const SYSTEM_BUCKET = 'sluice-system';

export interface ObjectInfo {
  readonly bucket: string;
  readonly key: string;
  readonly size: number;
  /** Opaque, without quotes; another one after every write. */
  readonly etag: string;
  /** Equal in a notification and in a listing of the same state of the object; part of the run's id. */
  readonly identity: string;
  readonly versionId?: string;
  /** Epoch ms, what the world calls last modified. */
  readonly lastModified: number;
  /** Epoch ms in the store's clock, never earlier than the object's arrival under this key; floors compare with it. */
  readonly changedAt: number;
}

/** What HEAD and GET know beyond a listing. */
export interface ObjectHead extends ObjectInfo {
  readonly contentType: string;
  /** Lower-case names, without a protocol's prefix. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface ObjectBody {
  readonly info: ObjectHead;
  /** The bytes; destroy it when they are not wanted. */
  readonly body: Readable;
}

export interface PutOptions {
  readonly contentType?: string;
  /** At most 2 KiB in all; names `[a-z0-9-]+`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Write only over this state. */
  readonly ifMatch?: string;
  /** Write only where there is nothing. */
  readonly ifNoneMatch?: '*';
  /** Expected bytes; a body of another length stores nothing (`invalid_input`). */
  readonly size?: number;
  readonly signal?: AbortSignal;
}

export interface BucketInfo {
  readonly name: string;
  readonly createdAt: number;
  readonly tags: Readonly<Record<string, string>>;
}

export interface PresignRequest {
  readonly bucket: string;
  readonly key: string;
  readonly operation: 'upload' | 'download';
  /** 1 to 604800. */
  readonly expiresInSeconds: number;
  /** Upload: the signed `Content-Type`; download: the answer's. */
  readonly contentType?: string;
  /** Upload: further headers that the request must carry. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface PresignedUrl {
  readonly method: 'GET' | 'PUT';
  readonly url: string;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** Headers that the request must carry. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Buckets and objects. Keys are S3 keys: UTF-8, at most 1024 bytes, never leading outside their bucket. Errors:
 * `not_found` (bucket or object), `precondition_failed`, `invalid_input` (name or key, `field` set), `storage_full`, `unavailable`.
 */
export interface ObjectStore {
  /** Creates a bucket or finds it there; tags are set only when it is created. */
  createBucket(name: string, tags: Readonly<Record<string, string>>): Promise<'created' | 'exists'>;
  getBucket(name: string): Promise<BucketInfo | undefined>;
  setBucketTags(name: string, tags: Readonly<Record<string, string>>): Promise<void>;
  listBuckets(query: { limit: number; cursor?: string }): Promise<Page<BucketInfo>>;
  /** Removes a bucket with all that is in it. */
  deleteBucket(name: string): Promise<void>;
  /** Bytes and objects in a bucket; `complete` is false where counting stopped at `limit` objects. */
  usage(bucket: string, limit: number): Promise<{ bytes: number; objects: number; complete: boolean }>;

  head(bucket: string, key: string): Promise<ObjectHead | undefined>;
  /** @throws AppError `not_found`; `precondition_failed` when `ifMatch` is not the object's etag (any more) */
  get(bucket: string, key: string, options?: { ifMatch?: string; signal?: AbortSignal }): Promise<ObjectBody>;
  /** Atomic: readers see the old object or the new one. Resolves when the object is durable. A key ending with `/` makes a folder marker of no bytes. */
  put(bucket: string, key: string, body: Readable | Uint8Array, options?: PutOptions): Promise<ObjectHead>;
  /** Absent is fine. */
  remove(bucket: string, key: string): Promise<void>;
  /** In byte order of keys. `after` is a key: only later ones. `limit` 1 to 1000. Folder markers are not listed. */
  list(
    bucket: string,
    query: { prefix: string; after?: string; limit: number },
  ): Promise<{
    readonly objects: readonly ObjectInfo[];
    /** Pass it on as `after`; absent on the last page. */
    readonly next?: string;
  }>;
  presign(request: PresignRequest): Promise<PresignedUrl>;
  /** The store's clock, epoch ms: where a new floor starts. */
  now(): Promise<number>;
  check(): Promise<void>;
}

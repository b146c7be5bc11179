import type { BucketPath, ObjectHead, ObjectInfo } from '@sluice/shared/stores';

/** Word that an object was created or overwritten, with the state it is in. */
export interface ObjectNotification {
  readonly object: ObjectHead;
  /**
   * Monotonic milliseconds at which this process first saw the change. Absent where the word may have waited elsewhere
   * (a queue): then only the object's own time says whether it came before the service.
   */
  readonly seenAt?: number;
  /** Epoch milliseconds at which the store says that it happened. */
  readonly eventTime?: number;
  /** Principal or access key of who wrote it. */
  readonly user?: string;
}

export interface NotificationHandlers {
  /** Resolves when every match is durably claimed. A rejection means "not taken": the source gives the batch again. */
  onNotifications(batch: readonly ObjectNotification[]): Promise<void>;
  /** Something below this path may have been missed: it is listed soon. */
  onGap(path: BucketPath): void;
}

/**
 * Where word of new objects comes from. A hint, nothing more: what it misses is found by listing.
 */
export interface NotificationSource {
  /** Called once. Nothing is handed over after `stop` has resolved. */
  start(handlers: NotificationHandlers): Promise<void>;
  /** The paths that matter now, all of them; resolves when changes below each are noticed. */
  setPrefixes(paths: readonly BucketPath[]): Promise<void>;
  /**
   * For each object that a listing found, whether it is complete as far as the source can tell. The source itself gives
   * word of the others once they are. Absent: objects appear complete (S3).
   */
  ready?(objects: readonly ObjectInfo[]): Promise<readonly boolean[]>;
  /**
   * Objects that a listing found too young to be complete: the source gives word of each once it is. They may have been
   * written just before their path was watched, so that nothing else would tell. Absent: they are left to the next listing.
   */
  expect?(objects: readonly ObjectInfo[]): void;
  /** Rejects while something that is missed meanwhile has to be mended by a person. Absent: nothing can be. */
  check?(): Promise<void>;
  stop(): Promise<void>;
}

/** An object store that tells of every object written through it, after the object is durable. */
export interface WriteEvents {
  /** @returns ends the subscription */
  onWrite(listener: (written: { readonly info: ObjectHead }) => void): () => void;
}

/** Rules on buckets by which the S3 server tells of new objects; `createS3BucketRules` of `@sluice/shared/adapters` has them. */
export interface BucketRules {
  /**
   * Makes our rules on a bucket cover exactly these prefixes; none: our rules go. Others' rules stay.
   * @throws AppError `not_found` for a bucket that is not there, `unavailable`
   */
  set(bucket: string, prefixes: readonly string[]): Promise<'changed' | 'same'>;
  /** Whether the bucket has rules that cover all of these. */
  covers(bucket: string, prefixes: readonly string[]): Promise<boolean>;
  /** Every bucket of the server. */
  buckets(): Promise<readonly string[]>;
}

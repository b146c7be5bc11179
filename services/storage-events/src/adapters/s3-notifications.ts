import { isAppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { parseNotification } from '../domain/parse-notification.ts';
import type { NotificationHandlers, NotificationSource } from '../ports.ts';
import { createNotifiedRecords, type NotifiedRecords } from './notified-records.ts';

/** Tells of what is written to one bucket while it stands; `createS3ObjectStore` of `@sluice/shared/adapters` has one. */
export type ListenToBucket = (
  bucket: string,
  handlers: {
    readonly onOpen: () => void;
    readonly onNotification: (body: unknown) => void;
    readonly signal: AbortSignal;
  },
) => Promise<void>;

export interface S3NotificationsDeps {
  readonly listen: ListenToBucket;
  readonly objects: Pick<ObjectStore, 'head'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const firstBackoffMs = 250;
const longestBackoffMs = 30_000;
/** How long new paths wait for their stream: past it they are listed, and the stream goes on trying. */
const openMs = 5000;

interface BucketStream {
  /** Settles when the stream stands for the first time, or will not for now. */
  readonly opened: Promise<void>;
  paths: readonly BucketPath[];
  stop(): Promise<void>;
}

/**
 * Word of new objects from the S3 server's own stream, one for each bucket with an input path. It connects again for ever; each time it has
 * connected, what may have been missed is listed. Rules on buckets are neither needed nor touched.
 */
export function createS3Notifications(deps: S3NotificationsDeps): NotificationSource {
  const streams = new Map<string, BucketStream>();
  const current: { handlers?: NotificationHandlers; records?: NotifiedRecords } = {};
  return {
    start: async (handlers) => {
      current.handlers = handlers;
      current.records = createNotifiedRecords({ ...deps, handlers });
    },
    setPrefixes: async (paths) => {
      const { handlers, records } = current;
      if (handlers === undefined || records === undefined) return;
      const byBucket = Map.groupBy(paths, ({ bucket }) => bucket);
      const gone = [...streams].filter(([bucket]) => !byBucket.has(bucket));
      for (const [bucket] of gone) streams.delete(bucket);
      await Promise.all(gone.map(([, stream]) => stream.stop()));
      for (const [bucket, some] of byBucket) {
        const stream = streams.get(bucket);
        if (stream !== undefined) stream.paths = some;
        else streams.set(bucket, openStream(deps, bucket, some, { handlers, records }));
      }
      const patience = new AbortController();
      const all = Promise.all([...streams.values()].map((stream) => stream.opened));
      await Promise.race([all, deps.clock.sleep(openMs, patience.signal).catch(() => undefined)]);
      patience.abort();
    },
    stop: async () => {
      await Promise.all([...streams.values()].map((stream) => stream.stop()));
      streams.clear();
      await current.records?.stop();
    },
  };
}

function openStream(
  deps: S3NotificationsDeps,
  bucket: string,
  paths: readonly BucketPath[],
  to: { readonly handlers: NotificationHandlers; readonly records: NotifiedRecords },
): BucketStream {
  const stopping = new AbortController();
  const { promise: opened, resolve: settle } = Promise.withResolvers<void>();
  const gap = (): void => {
    for (const path of stream.paths) to.handlers.onGap(path);
  };
  const running = async (): Promise<void> => {
    let backoff = 0;
    while (!stopping.signal.aborted) {
      try {
        await deps.listen(bucket, {
          signal: stopping.signal,
          onOpen: () => {
            if (backoff > 0) deps.log.info({ bucket }, 'the S3 server tells of new objects again');
            backoff = 0;
            settle();
            gap();
          },
          onNotification: (body) => {
            if (!take(deps, bucket, body, to.records)) gap();
          },
        });
      } catch (error) {
        if (isAppError(error, 'unsupported')) {
          deps.log.warn({ bucket, reason: messageOf(error) }, 'new objects are found by listing only');
          return;
        }
        if (backoff === 0) {
          deps.log.warn(
            { err: error, bucket },
            'the S3 server does not tell of new objects now, they are listed meanwhile',
          );
        }
      } finally {
        settle();
      }
      backoff = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff * 2));
      await deps.clock.sleep(backoff, stopping.signal).catch(() => undefined);
    }
  };
  const done = running();
  const stream: BucketStream = {
    opened,
    paths,
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
  return stream;
}

/** False where something may be missing. */
function take(deps: S3NotificationsDeps, bucket: string, body: unknown, records: NotifiedRecords): boolean {
  try {
    return parseNotification(body).records.every((record) => records.add(record));
  } catch (error) {
    deps.log.warn(
      { err: error, bucket },
      'a notification of the S3 server cannot be read: its bucket is listed',
    );
    return false;
  }
}

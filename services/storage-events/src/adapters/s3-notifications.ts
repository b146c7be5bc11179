import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { parseNotification } from '../domain/parse-notification.ts';
import type { NotificationHandlers, NotificationSource, WriteEvents } from '../ports.ts';
import { createNotifiedRecords, type NotifiedRecords } from './notified-records.ts';
import { createWrittenObjects } from './written-objects.ts';

/** Tells of what is written to any bucket while it stands; `createS3ObjectStore` of `@sluice/shared/adapters` has one. */
export type ListenToObjects = (handlers: {
  readonly onOpen: () => void;
  readonly onNotification: (body: unknown) => void;
  readonly signal: AbortSignal;
}) => Promise<void>;

export interface S3NotificationsDeps {
  readonly listen: ListenToObjects;
  readonly objects: Pick<ObjectStore, 'head'> & WriteEvents;
  readonly clock: Clock;
  readonly log: Logger;
}

const firstBackoffMs = 250;
/** Without a stream every input path is listed so often. */
const longestBackoffMs = 10_000;

/**
 * Word of new objects from the S3 server's own stream. It connects again for ever; each time it has connected, and while it can't, what may have been
 * missed is listed. Rules on buckets are neither needed nor touched.
 */
export function createS3Notifications(deps: S3NotificationsDeps): NotificationSource {
  const stopping = new AbortController();
  const paths: { current: readonly BucketPath[] } = { current: [] };
  const current: { records?: NotifiedRecords; listening?: Promise<void>; stopWritten?: () => Promise<void> } =
    {};
  const isInput = (bucket: string): boolean => paths.current.some((path) => path.bucket === bucket);
  return {
    start: async (handlers) => {
      const records = createNotifiedRecords({ ...deps, handlers });
      current.records = records;
      current.stopWritten = followWrites(deps, handlers, isInput);
      // Nobody waits for it: as soon as it stands, what came before is listed.
      current.listening = listenForEver(deps, {
        records,
        signal: stopping.signal,
        isInput,
        gap: () => {
          for (const path of paths.current) handlers.onGap(path);
        },
      });
    },
    setPrefixes: async (wanted) => {
      paths.current = wanted;
    },
    stop: async () => {
      stopping.abort();
      await current.stopWritten?.();
      await current.listening;
      await current.records?.stop();
    },
  };
}

/** What this process itself writes is known at once; the stream tells of it a second time, which finds it claimed. */
function followWrites(
  { objects, clock, log }: S3NotificationsDeps,
  handlers: NotificationHandlers,
  isInput: (bucket: string) => boolean,
): () => Promise<void> {
  const written = createWrittenObjects({ handlers, onDelivered: () => undefined, clock, log });
  const unsubscribe = objects.onWrite(({ info }) => {
    // Where too many wait the stream or a listing finds it.
    if (isInput(info.bucket) && !info.key.endsWith('/')) written.add(info);
  });
  return async () => {
    unsubscribe();
    await written.stop();
  };
}

interface Stream {
  readonly records: NotifiedRecords;
  readonly signal: AbortSignal;
  readonly isInput: (bucket: string) => boolean;
  readonly gap: () => void;
}

async function listenForEver(deps: S3NotificationsDeps, stream: Stream): Promise<void> {
  const { clock, log } = deps;
  let backoff = 0;
  while (!stream.signal.aborted) {
    try {
      await deps.listen({
        signal: stream.signal,
        onOpen: () => {
          if (backoff > 0) log.warn({}, 'the S3 server tells of new objects again');
          backoff = 0;
          stream.gap();
        },
        onNotification: (body) => {
          if (!take(log, body, stream)) stream.gap();
        },
      });
    } catch (error) {
      const reason = isAppError(error, 'unsupported')
        ? 'the S3 server does not tell of new objects: they are found by listing'
        : 'the S3 server does not tell of new objects now: they are listed meanwhile';
      if (backoff === 0) log.warn({ err: error }, reason);
    }
    if (stream.signal.aborted) return;
    stream.gap();
    backoff = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff * 2));
    await clock.sleep(backoff, stream.signal).catch(() => undefined);
  }
}

/** False where something may be missing. */
function take(log: Logger, body: unknown, { records, isInput }: Stream): boolean {
  try {
    return parseNotification(body, 'plain')
      .records.filter(({ bucket }) => isInput(bucket))
      .every((record) => records.add(record));
  } catch (error) {
    log.warn({ err: error }, 'a notification of the S3 server cannot be read: input paths are listed');
    return false;
  }
}

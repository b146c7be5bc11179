import { createInterface } from 'node:readline';
import { AppError } from '../errors/index.ts';
import type { S3Client } from './s3-client.ts';
import { fromS3Error, s3Code } from './s3-errors.ts';

export interface S3ListenHandlers {
  /** What is written from now on is told. */
  readonly onOpen: () => void;
  /** A notification as the server sends it to its targets: `{"Records":[…]}`. */
  readonly onNotification: (body: unknown) => void;
  /** Aborted: the stream ends. */
  readonly signal: AbortSignal;
}

/**
 * Tells of objects written to a bucket while the stream stands (MinIO's `listenBucketNotification`, which sets no rule on the bucket and needs none). Resolves when
 * it is ended from here or there.
 * @throws AppError `unsupported` where the server has no such stream, `not_found` without the bucket, `unavailable`
 */
export type S3Listen = (bucket: string, handlers: S3ListenHandlers) => Promise<void>;

/** Answers of servers that do not know the request. */
const unknownCodes: ReadonlySet<string> = new Set(['MethodNotAllowed', 'NotImplemented', 'InvalidArgument']);
/** Longest line that is read. An event has some 2 KiB, its key at most three times 1 KiB. */
const maxLine = 1024 * 1024;

/** The package's own poller ends for good at the first broken connection; this tells its caller, who begins again. */
export function createS3Listen(s3: S3Client): S3Listen {
  return async (bucket, { onOpen, onNotification, signal }) => {
    if (signal.aborted) return;
    const what = `listen to the bucket ${bucket}`;
    try {
      const answer = await s3.client.makeRequestAsync(
        {
          method: 'GET',
          bucketName: bucket,
          query: `events=${encodeURIComponent('s3:ObjectCreated:*')}&ping=1`,
        },
        '',
        [200],
        s3.region,
      );
      const stop = (): void => {
        answer.destroy();
      };
      signal.addEventListener('abort', stop, { once: true });
      try {
        if (signal.aborted) return;
        onOpen();
        const lines = createInterface({ input: answer, crlfDelay: Number.POSITIVE_INFINITY });
        for await (const line of lines) {
          if (line.trim() === '') continue;
          if (line.length > maxLine)
            throw new AppError('unavailable', 'The S3 server sent a line without end.');
          onNotification(JSON.parse(line));
        }
      } finally {
        signal.removeEventListener('abort', stop);
        answer.destroy();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (unknownCodes.has(s3Code(error) ?? '')) {
        throw new AppError('unsupported', `Cannot ${what}: the S3 server tells nobody of new objects.`, {
          cause: error,
        });
      }
      throw fromS3Error(error, what);
    }
  };
}

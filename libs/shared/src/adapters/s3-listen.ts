import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors/index.ts';
import { SYSTEM_BUCKET } from '../stores/index.ts';
import { drain } from './s3-call.ts';
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
 * Tells of objects written to any bucket while the stream stands (MinIO's `listenNotification`, which sets no rule on a bucket and needs none).
 * Resolves when it is ended from here or there.
 * @throws AppError `unsupported` where the server has no such stream, `unavailable`
 */
export type S3Listen = (handlers: S3ListenHandlers) => Promise<void>;

/** Answers of servers that do not know the request. */
const unknownCodes: ReadonlySet<string> = new Set(['MethodNotAllowed', 'NotImplemented', 'InvalidArgument']);
/** Longest line that is read. An event has some 2 KiB, its key at most three times 1 KiB. */
const maxLine = 1024 * 1024;
/** Sorted and encoded as it is signed. The server says every second that the stream stands. */
const query = 'events=s3%3AObjectAccessed%3AHead&events=s3%3AObjectCreated%3A%2A&ping=1';
const accessed = '"eventName":"s3:ObjectAccessed';

/**
 * MinIO of 2025 and 2026 does not flush its stream: events lie in the server's buffers (2 and 4 KiB) until others push them out. A server that is silent for so
 * long, though it was asked for a word every second, is such a one, and gets nudged. That its answer has begun says nothing: a burst of events pushes it out, too.
 */
const promptMs = 1500;
/** An event is at most so late at such a server. */
const nudgeMs = 250;
/** Comes back in the event of the request that carries it, and fills the buffers. */
const filler = `Sluice ${'.'.repeat(6000)}`;

export interface S3ListenDeps {
  /** A client for one stream. It has its own connections, so that all of them can be cut, one whose answer has not begun included. */
  readonly connect: () => S3Client;
  /** The object of the system bucket that is looked at to nudge the server. */
  readonly nudged: { readonly key: string; readonly make: () => Promise<unknown> };
}

/** The package's own poller ends for good at the first broken connection; this tells its caller, who begins again. */
export function createS3Listen({ connect, nudged }: S3ListenDeps): S3Listen {
  // Remembered: the next connection need not wait to find out.
  const server = { holdsBack: false };
  return async ({ onOpen, onNotification, signal }) => {
    if (signal.aborted) return;
    const s3 = connect();
    const ended = new AbortController();
    const stop = (): void => {
      ended.abort();
      s3.close();
    };
    signal.addEventListener('abort', stop, { once: true });
    const heard = { times: 0 };
    const nudging = nudge(s3, nudged, { server, heard, signal: ended.signal });
    try {
      const answer = await s3.client.makeRequestAsync({ method: 'GET', query }, '', [200], s3.region);
      heard.times += 1;
      onOpen();
      for await (const line of linesOf(answer, heard)) {
        if (line.trim() === '' || line.includes(accessed)) continue;
        const body: unknown = JSON.parse(line);
        if (hasRecords(body)) onNotification(body);
      }
    } catch (error) {
      if (!signal.aborted) throw listenError(error);
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
      await nudging;
    }
  };
}

/** Not `readline`: its lines go on for ever where the answer is destroyed or its connection breaks. */
async function* linesOf(answer: IncomingMessage, heard: { times: number }): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of answer.setEncoding('utf8')) {
    heard.times += 1;
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLine) throw new AppError('unavailable', 'The S3 server sent a line without end.');
    yield* lines;
  }
}

/** The server's word that nothing happened has none. */
function hasRecords(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'Records' in body && Array.isArray(body.Records);
}

interface Nudging {
  readonly server: { holdsBack: boolean };
  /** How often the server has sent something. */
  readonly heard: { readonly times: number };
  readonly signal: AbortSignal;
}

async function nudge(
  s3: S3Client,
  { key, make }: S3ListenDeps['nudged'],
  { server, heard, signal }: Nudging,
): Promise<void> {
  const pause = async (ms: number): Promise<boolean> =>
    delay(ms, true, { signal, ref: false }).catch(() => false);
  while (!server.holdsBack) {
    const before = heard.times;
    if (!(await pause(promptMs))) return;
    server.holdsBack = heard.times === before;
  }
  do {
    try {
      const answer = await s3.client.makeRequestAsync(
        { method: 'HEAD', bucketName: SYSTEM_BUCKET, objectName: key, headers: { 'user-agent': filler } },
        '',
        [200],
        s3.region,
      );
      await drain(answer);
    } catch (error) {
      // Asking for what is not there is no event. The stream breaks, too, where the server is away, and its caller is told.
      if (isAbsent(error)) await make().catch(() => undefined);
    }
  } while (await pause(nudgeMs));
}

function listenError(error: unknown): AppError {
  const what = 'listen to the S3 server';
  if (!unknownCodes.has(s3Code(error) ?? '')) return fromS3Error(error, what);
  return new AppError('unsupported', `Cannot ${what}: it tells nobody of new objects.`, { cause: error });
}

/** HEAD has no body that would tell a bucket from an object. */
function isAbsent(error: unknown): boolean {
  return ['NotFound', 'NoSuchKey', 'NoSuchBucket'].includes(s3Code(error) ?? '');
}

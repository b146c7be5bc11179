import { buffer } from 'node:stream/consumers';
import { logsPrefix } from '../contracts/index.ts';
import { isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import {
  SYSTEM_BUCKET,
  type ObjectStore,
  type RunLogChunk,
  type RunLogRef,
  type RunLogs,
} from '../stores/index.ts';
import { mapLimited } from './folder-limits.ts';
import { createRunLogWriter, type FolderLogWriter, type LogFile } from './folder-run-log-writer.ts';
import { checkLogRange, checkLogRef, wholeLines } from './run-log-rules.ts';

export interface ObjectRunLogsDeps {
  readonly objects: Pick<ObjectStore, 'get' | 'list' | 'put' | 'remove'>;
  readonly clock: Clock;
  /** Stored bytes of one attempt, from its beginning; its last 64 KiB are kept as well. @default 10 MiB */
  readonly maxBytes?: number;
  /** Milliseconds that a line may wait before it can be read elsewhere; the first lines do not. @default 1000 */
  readonly flushMs?: number;
  /** Prefix in the system bucket, by the name that a log's reference has first. @default `logsPrefix` */
  readonly below?: (service: string) => string;
}

const segmentBytes = 256 * 1024;
/** Milliseconds for what belongs to the first lines. */
const gatherMs = 20;
/** Milliseconds without a segment after which nobody is taken to be writing: an attempt that was killed leaves no end. */
const quietMs = 30_000;
const pageSize = 1000;
/** Tries of one write while the store is away; the script waits meanwhile, once it has printed more than fits. */
const writeTries = 4;
const firstWaitMs = 200;
const digits = 15;

/**
 * Logs as segments below `logsPrefix`, one object for what was printed within a second or 256 KiB: `<first byte>.log`, so that a listing says where
 * each byte is, and whoever dies leaves all that was written before. `<bytes>.end` says that an attempt has ended there; a later attempt goes on behind it, by
 * which it is the end no more. Nothing is written over: of two writers one finds its place taken, and takes the next.
 */
export function createObjectRunLogs(deps: ObjectRunLogsDeps): RunLogs {
  const { objects, clock, maxBytes = 10 * 1024 * 1024, flushMs = 1000, below = logsPrefix } = deps;
  const prefixOf = (ref: RunLogRef): string => {
    checkLogRef(ref);
    return `${below(ref.service)}${ref.runId}/`;
  };
  const writers = new Map<string, Set<FolderLogWriter>>();
  const removed = new WeakSet<FolderLogWriter>();
  return {
    open: async (ref) => {
      const prefix = prefixOf(ref);
      const segments = createSegments(deps, prefix, () => removed.has(writer));
      const pacer = createPacer(clock, flushMs);
      const writer: FolderLogWriter = createRunLogWriter({
        clock,
        maxBytes,
        bufferBytes: segmentBytes,
        openFile: async () => Promise.resolve({ file: segments, cut: false }),
        onPending: pacer.pending,
      });
      const open = writers.get(prefix) ?? new Set();
      writers.set(prefix, open.add(writer));
      return {
        write: writer.write,
        close: async () => {
          pacer.stop();
          try {
            return await writer.close();
          } finally {
            open.delete(writer);
            if (open.size === 0 && writers.get(prefix) === open) writers.delete(prefix);
          }
        },
      };
    },
    read: async (ref, query) => {
      checkLogRange(query);
      const prefix = prefixOf(ref);
      const open = writers.get(prefix);
      await Promise.all([...(open ?? [])].map(async (writer) => writer.flush()));
      return readSegments(deps, prefix, query, open !== undefined);
    },
    remove: async (refs) => {
      const prefixes = refs.map(prefixOf);
      await mapLimited(prefixes, 4, async (prefix) => {
        await Promise.all(
          [...(writers.get(prefix) ?? [])].map(async (writer) => {
            removed.add(writer);
            await writer.discard();
          }),
        );
        await mapLimited(await listAll(objects, prefix), 8, async ({ key }) =>
          objects.remove(SYSTEM_BUCKET, key),
        );
      });
    },
  };
}

function keyAt(prefix: string, offset: number, kind: 'log' | 'end'): string {
  return `${prefix}${String(offset).padStart(digits, '0')}.${kind}`;
}

interface Segment {
  readonly key: string;
  readonly start: number;
  readonly size: number;
  readonly kind: string;
  readonly at: number;
}

async function listAll(
  objects: ObjectRunLogsDeps['objects'],
  prefix: string,
  from?: string,
): Promise<Segment[]> {
  const found: Segment[] = [];
  let after = from;
  for (;;) {
    const page = await objects.list(SYSTEM_BUCKET, {
      prefix,
      limit: pageSize,
      ...(after === undefined ? {} : { after }),
    });
    for (const { key, size, lastModified: at } of page.objects) {
      const [start = '', kind = ''] = key.slice(prefix.length).split('.');
      found.push({ key, start: Number(start), size, kind, at });
    }
    if (page.next === undefined) return found;
    after = page.next;
  }
}

function endOf(segments: readonly Segment[]): number {
  return segments.reduce(
    (end, { start, size, kind }) => (kind === 'log' ? Math.max(end, start + size) : end),
    0,
  );
}

/** Appends segments behind what is there. */
function createSegments(
  { objects, clock }: ObjectRunLogsDeps,
  prefix: string,
  isRemoved: () => boolean,
): LogFile {
  let end: number | undefined;
  const put = async (kind: 'log' | 'end', bytes: Uint8Array): Promise<void> => {
    for (let tries = 1; ;) {
      end ??= endOf(await listAll(objects, prefix));
      try {
        const options = { ifNoneMatch: '*', contentType: 'text/plain; charset=utf-8' } as const;
        await objects.put(SYSTEM_BUCKET, keyAt(prefix, end, kind), bytes, options);
        return;
      } catch (error) {
        if (isAppError(error, 'precondition_failed')) {
          if (kind === 'end') return;
          end = undefined;
        } else if (!isAppError(error, 'unavailable') || tries >= writeTries) throw error;
        tries += 1;
        if (tries > 2 * writeTries) throw error;
        await clock.sleep(firstWaitMs * 2 ** (tries - 2));
      }
    }
  };
  return {
    write: async (bytes, from) => {
      const rest = bytes.subarray(from);
      await put('log', rest);
      end = (end ?? 0) + rest.length;
      return { bytesWritten: rest.length };
    },
    close: async () => {
      if (!isRemoved()) await put('end', new Uint8Array(0));
    },
  };
}

/** Says when a writer is to write: soon after a silence, else when the time since the last writing is over. */
function createPacer(
  clock: Clock,
  flushMs: number,
): { readonly pending: (writer: FolderLogWriter) => void; readonly stop: () => void } {
  const stopped = new AbortController();
  let waiting = false;
  let last = Number.NEGATIVE_INFINITY;
  const flushLater = async (writer: FolderLogWriter): Promise<void> => {
    await clock.sleep(Math.max(gatherMs, last + flushMs - clock.monotonic()), stopped.signal);
    waiting = false;
    last = clock.monotonic();
    await writer.flush();
  };
  return {
    pending: (writer) => {
      if (waiting || stopped.signal.aborted) return;
      waiting = true;
      // Ended by `stop`: closing writes what waits.
      flushLater(writer).catch(() => undefined);
    },
    stop: () => stopped.abort(),
  };
}

async function readSegments(
  { objects, clock }: ObjectRunLogsDeps,
  prefix: string,
  { offset, limit }: { offset: number; limit: number },
  writing: boolean,
): Promise<RunLogChunk | undefined> {
  // Who follows a log asks for what comes behind a segment: then the earlier ones need not be listed.
  const before = offset === 0 ? undefined : `${prefix}${String(offset - 1).padStart(digits, '0')}.zzz`;
  let segments = await listAll(objects, prefix, before);
  if (before !== undefined && !segments.some(({ start, kind }) => start === offset && kind === 'log')) {
    segments = await listAll(objects, prefix);
  }
  if (segments.length === 0) return undefined;
  const end = endOf(segments);
  const wanted = segments.filter(
    ({ start, size, kind }) => kind === 'log' && start + size > offset && start < offset + limit,
  );
  const parts = await mapLimited(wanted, 4, async ({ key, start }) => {
    const bytes = await bytesOf(objects, key);
    return bytes.subarray(Math.max(0, offset - start), Math.max(0, offset + limit - start));
  });
  const bytes = Buffer.concat(parts);
  const atEnd = offset + bytes.length >= end;
  const data = atEnd ? bytes : wholeLines(bytes);
  const ended = segments.some(({ start, kind }) => kind === 'end' && start >= end);
  const quiet = segments.every(({ at }) => at < clock.now() - quietMs);
  return { data, nextOffset: offset + data.length, complete: atEnd && !writing && (ended || quiet) };
}

/** None where the log is being removed. */
async function bytesOf(objects: ObjectRunLogsDeps['objects'], key: string): Promise<Buffer> {
  try {
    const { body } = await objects.get(SYSTEM_BUCKET, key);
    return await buffer(body);
  } catch (error) {
    if (isAppError(error, 'not_found')) return Buffer.alloc(0);
    throw error;
  }
}

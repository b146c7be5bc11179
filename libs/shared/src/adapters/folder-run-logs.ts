import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { RunLogChunk, RunLogRef, RunLogs, RunLogWriter } from '../stores/index.ts';
import { createRunLogWriter, type FolderLogWriter } from './folder-run-log-writer.ts';
import { mapLimited } from './folder-limits.ts';
import { checkLogRange, checkLogRef, wholeLines } from './run-log-rules.ts';

export interface FolderRunLogsDeps {
  /** Made when the first log is written. */
  readonly root: string;
  readonly clock: Clock;
  /** Stored bytes of one attempt, from its beginning; its last 64 KiB are kept as well. @default 10 MiB */
  readonly maxBytes?: number;
}

const flushMs = 250;
const bufferBytes = 65_536;
const noFollow = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Logs as files, `<root>/<service>/<run id>.log`, written for people to read too. A run that prints nothing has no file;
 * one that prints little costs an open, a write and a close. Logs are not fsynced: a power cut may take the last lines,
 * never a run's outcome. A full disk costs log lines and does not fail the run: they are counted, and the log says so.
 */
export function createFolderRunLogs(deps: FolderRunLogsDeps): RunLogs {
  const { root, clock, maxBytes = 10 * 1024 * 1024 } = deps;
  const writers = new Map<string, Set<FolderLogWriter>>();
  const ticker = createTicker(clock);
  return {
    open: async (ref) => {
      const path = pathOf(root, ref);
      const writer = createRunLogWriter({
        clock,
        maxBytes,
        bufferBytes,
        openFile: async () => openLog(path),
        onPending: ticker.add,
      });
      const open = writers.get(path) ?? new Set();
      writers.set(path, open.add(writer));
      return withForget(writer, () => {
        ticker.remove(writer);
        open.delete(writer);
        if (open.size === 0 && writers.get(path) === open) writers.delete(path);
      });
    },
    read: async (ref, query) => {
      checkLogRange(query);
      const path = pathOf(root, ref);
      // Before the file is looked at: a writer that closes in between has then written all that is read here.
      const open = writers.get(path);
      await Promise.all([...(open ?? [])].map(async (writer) => writer.flush()));
      return readLog(path, query, open !== undefined);
    },
    remove: async (refs) => {
      const paths = refs.map((ref) => pathOf(root, ref));
      await mapLimited(paths, 8, async (path) => {
        await Promise.all([...(writers.get(path) ?? [])].map(async (writer) => writer.discard()));
        await removeFile(path);
      });
      const services = new Set(refs.map((ref) => join(root, ref.service)));
      await mapLimited([...services], 8, removeEmptyFolder);
    },
  };
}

function withForget(writer: FolderLogWriter, forget: () => void): RunLogWriter {
  return {
    write: writer.write,
    close: async () => {
      try {
        return await writer.close();
      } finally {
        forget();
      }
    },
  };
}

/** One timer for all writers: a follower sees a line a quarter of a second after it was printed, at the latest. */
function createTicker(clock: Clock): {
  add(writer: FolderLogWriter): void;
  remove(writer: FolderLogWriter): void;
} {
  const dirty = new Set<FolderLogWriter>();
  let ticking = false;
  const tick = async (): Promise<void> => {
    while (dirty.size > 0) {
      await clock.sleep(flushMs);
      const due = [...dirty];
      dirty.clear();
      await mapLimited(due, 8, async (writer) => writer.flush());
    }
    ticking = false;
  };
  return {
    add: (writer) => {
      dirty.add(writer);
      if (ticking) return;
      ticking = true;
      void tick();
    },
    remove: (writer) => {
      dirty.delete(writer);
    },
  };
}

function pathOf(root: string, ref: RunLogRef): string {
  checkLogRef(ref);
  return join(root, ref.service, `${ref.runId}.log`);
}

/** Opens a log for appending. `cut` says that its last line has no end (a kill or a full disk while it was written). */
async function openLog(path: string): Promise<{ file: FileHandle; cut: boolean }> {
  const { O_APPEND, O_CREAT, O_EXCL, O_RDWR } = constants;
  // The folder may go between its creation and the file's, when another run's log is removed: hence the second round.
  for (let round = 1; ; round += 1) {
    try {
      return { file: await open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | noFollow), cut: false };
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EEXIST') {
        const file = await open(path, O_RDWR | O_APPEND | noFollow);
        return { file, cut: await lacksEnd(file) };
      }
      if (code !== 'ENOENT' || round === 3) throw error;
      await mkdir(join(path, '..'), { recursive: true });
    }
  }
}

async function lacksEnd(file: FileHandle): Promise<boolean> {
  try {
    const stats = await file.stat();
    if (!stats.isFile())
      throw new AppError('unavailable', "The log's file name is taken by something that is no file.");
    if (stats.size === 0) return false;
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, stats.size - 1);
    return buffer[0] !== 0x0a;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readLog(
  path: string,
  query: { offset: number; limit: number },
  writing: boolean,
): Promise<RunLogChunk | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | noFollow);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const { size } = await file.stat();
    const bytes = await readAt(file, query.offset, Math.min(query.limit, size - query.offset));
    const atEnd = query.offset + bytes.length >= size;
    // The last line may still be on its way, unless nobody writes: then it is what a kill left.
    const data = atEnd && !writing ? bytes : wholeLines(bytes);
    return { data, nextOffset: query.offset + data.length, complete: atEnd && !writing };
  } finally {
    await file.close();
  }
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  if (length <= 0) return Buffer.alloc(0);
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
  }
}

async function removeEmptyFolder(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw error;
  }
}

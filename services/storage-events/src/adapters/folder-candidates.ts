import type { BigIntStats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { isAppError, systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectHead, ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { chunksOf, createRecent, mapLimited } from '../limited.ts';
import type { NotificationHandlers, ObjectNotification } from '../ports.ts';
import type { FolderTree } from './folder-tree.ts';
import type { OpenFiles } from './open-files.ts';
import { sameLook, type Candidate, type FileLook, type Settling } from './settling.ts';

export interface CandidatesDeps {
  /** Real path of the folder of buckets; candidates' paths are relative to it. */
  readonly root: string;
  readonly settleMs: number;
  readonly objects: Pick<ObjectStore, 'head'>;
  readonly settling: Settling;
  readonly openFiles: OpenFiles;
  readonly tree: FolderTree;
  readonly delivered: Delivered;
  /** Whether a file at this path would be an input. */
  readonly isInput: (path: string) => boolean;
  /** Has a path that a listing found looked at. */
  readonly onListed: (path: string) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The states that were handed over last, so that an event behind a write of our own costs a look and no more. */
export interface Delivered {
  add(object: ObjectHead): void;
  /** Whether the file is in the state in which it was handed over. */
  covers(path: string, look: FileLook): boolean;
}

export interface Candidates {
  /** Looks at what events named: files begin to settle, folders go to the tree. */
  lookAtTouched(): Promise<void>;
  /** Hands over what has settled and nobody writes to. */
  handOver(handlers: NotificationHandlers): Promise<void>;
  /** Of these paths, those that are still being written; they become candidates. */
  unfinished(paths: readonly string[]): Promise<ReadonlySet<string>>;
  /** Monotonic time at which there is something to hand over; infinity if nothing waits. */
  nextDue(): number;
}

const looksAtOnce = 16;
const looksARound = 2000;
const batch = 500;
const firstBackoffMs = 250;
const longestBackoffMs = 30_000;
const rememberedDeliveries = 10_000;

export function createDelivered(): Delivered {
  const recent = createRecent<string>(rememberedDeliveries);
  const stateOf = (size: bigint, modified: bigint, changed: bigint): string =>
    `${size} ${modified} ${changed}`;
  return {
    add: ({ bucket, key, size, lastModified, changedAt }) => {
      const times = [lastModified, changedAt].map((at) => BigInt(Math.floor(at)));
      recent.set(`${bucket}/${key}`, stateOf(BigInt(size), times[0] ?? 0n, times[1] ?? 0n));
    },
    covers: (path, look) =>
      recent.get(path) === stateOf(look.size, wholeMs(look.mtimeNs), wholeMs(look.ctimeNs)),
  };
}

/** Rounded down, also before 1970. */
function wholeMs(nanoseconds: bigint): bigint {
  return nanoseconds / 1_000_000n - (nanoseconds % 1_000_000n < 0n ? 1n : 0n);
}

export function createCandidates(deps: CandidatesDeps): Candidates {
  const { settling, openFiles, clock } = deps;
  const backoff = { ms: 0, until: 0 };
  return {
    lookAtTouched: async () => {
      const paths = settling.takeTouched(looksARound);
      const looks = await mapLimited(paths, looksAtOnce, async (path) => look(deps, path));
      for (const [at, path] of paths.entries()) await sort(deps, path, looks[at]);
    },
    handOver: async (handlers) => {
      const now = clock.monotonic();
      if (now < backoff.until || openFiles.restMs() > 0) return;
      const finished = await finishedOnes(deps, settling.due(now, looksARound));
      for (const part of chunksOf(finished, batch)) {
        if (!(await deliver(deps, handlers, part, backoff))) return;
      }
    },
    unfinished: async (paths) => {
      const found = new Set(paths.filter((path) => settling.has(path)));
      const others = paths.filter((path) => !found.has(path));
      if (others.length === 0) return found;
      await clock.sleep(openFiles.restMs());
      for (const path of await openForWriting(deps, others)) {
        deps.onListed(path);
        found.add(path);
      }
      return found;
    },
    nextDue: () => Math.max(settling.nextDue(), backoff.until, clock.monotonic() + openFiles.restMs()),
  };
}

/** Undefined where there is nothing, or nothing that can be looked at. */
async function look(deps: CandidatesDeps, path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(`${deps.root}/${path}`, { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      deps.log.warn({ err: error, path }, 'a file cannot be looked at, it is left to the next listing');
    }
    return undefined;
  }
}

async function sort(deps: CandidatesDeps, path: string, stats: BigIntStats | undefined): Promise<void> {
  const { settling, tree, clock } = deps;
  if (stats?.isDirectory() === true) {
    settling.drop(path);
    await tree.arrived(path, stats);
    return;
  }
  tree.gone(path);
  // Links are never followed, and FIFOs and devices never opened.
  if (stats?.isFile() !== true || !deps.isInput(path) || isOldNews(deps, path, stats)) {
    settling.drop(path);
    return;
  }
  settling.looked(path, lookOf(stats), clock.monotonic());
}

/** Known as it is, and only an event named it. A listing asks for a service that it was no news for when it was handed over. */
function isOldNews(deps: CandidatesDeps, path: string, stats: BigIntStats): boolean {
  return !deps.settling.isListed(path) && deps.delivered.covers(path, stats);
}

/** Only what is needed: a thousand of Node's objects with all times would be megabytes. */
function lookOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): FileLook {
  return { dev, ino, size, mtimeNs, ctimeNs };
}

async function openForWriting(deps: CandidatesDeps, paths: readonly string[]): Promise<readonly string[]> {
  const files = new Map<string, Pick<FileLook, 'dev' | 'ino'>>();
  const looks = await mapLimited(paths, looksAtOnce, async (path) => look(deps, path));
  for (const [at, path] of paths.entries()) {
    const stats = looks[at];
    if (stats?.isFile() === true) files.set(`${deps.root}/${path}`, stats);
  }
  const found = await deps.openFiles.writtenTo(files);
  return paths.filter((path) => found.has(`${deps.root}/${path}`));
}

interface Finished {
  readonly path: string;
  readonly notification: ObjectNotification;
}

/** In this order: who writes, has it changed since, what does the store say; so that what is handed over was at rest to the last. */
async function finishedOnes(deps: CandidatesDeps, due: readonly Candidate[]): Promise<readonly Finished[]> {
  const { settling, clock, settleMs } = deps;
  if (due.length === 0) return [];
  const held = await deps.openFiles.writtenTo(
    new Map(due.map((candidate) => [`${deps.root}/${candidate.path}`, candidate.look])),
  );
  const free: Candidate[] = [];
  for (const candidate of due) {
    if (held.has(`${deps.root}/${candidate.path}`))
      settling.postpone(candidate.path, clock.monotonic() + settleMs);
    else free.push(candidate);
  }
  const finished = await mapLimited(free, looksAtOnce, async (candidate) => finish(deps, candidate));
  return finished.filter((one) => one !== undefined);
}

async function finish(deps: CandidatesDeps, candidate: Candidate): Promise<Finished | undefined> {
  const { settling, clock } = deps;
  const { path } = candidate;
  const stats = await look(deps, path);
  if (stats?.isFile() !== true || isOldNews(deps, path, stats)) {
    settling.drop(path);
    return undefined;
  }
  if (!sameLook(stats, candidate.look)) {
    settling.looked(path, lookOf(stats), clock.monotonic());
    return undefined;
  }
  const slash = path.indexOf('/');
  try {
    const object = await deps.objects.head(path.slice(0, slash), path.slice(slash + 1));
    const { seenAt } = candidate;
    if (object !== undefined)
      return { path, notification: { object, ...(seenAt === undefined ? {} : { seenAt }) } };
  } catch (error) {
    if (!isAppError(error) || error.retry === 'later') {
      deps.log.warn({ err: error, path }, 'a file cannot be read now, it is tried again');
      settling.postpone(path, clock.monotonic() + Math.max(deps.settleMs, firstBackoffMs));
      return undefined;
    }
    // A name that no key can have, or a bucket that is going.
    deps.log.debug({ err: error, path }, 'a file cannot be an object');
  }
  settling.drop(path);
  return undefined;
}

/** False when the batch was not taken; it is given again after a while. */
async function deliver(
  deps: CandidatesDeps,
  handlers: NotificationHandlers,
  part: readonly Finished[],
  backoff: { ms: number; until: number },
): Promise<boolean> {
  try {
    await handlers.onNotifications(part.map(({ notification }) => notification));
  } catch (error) {
    backoff.ms = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff.ms * 2));
    backoff.until = deps.clock.monotonic() + backoff.ms;
    deps.log.warn(
      { err: error, files: part.length, retry_ms: backoff.ms },
      'files were not taken, they are given again',
    );
    return false;
  }
  backoff.ms = 0;
  for (const { path, notification } of part) {
    deps.delivered.add(notification.object);
    deps.settling.drop(path);
  }
  return true;
}

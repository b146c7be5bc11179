import { AppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { DefinitionChange, Watch } from '../stores/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import { decodeRecord, type DefinitionRecord, type FirstFloor, storedOf } from './nats-definition-record.ts';
import { type FeedEntry, openFeed } from './nats-kv-feed.ts';
import type { NatsBucket } from './nats-kv.ts';

/** A definition in force, as it lies in its bucket. */
export interface Known {
  readonly revision: number;
  readonly name: string;
  readonly uid: string;
  readonly version: number;
  readonly secrets: string;
  readonly floors: readonly FirstFloor[];
  /** Of the record; parsed anew for each reader, who may do with it what they like. */
  readonly bytes: Uint8Array;
}

/** All definitions in force, kept up to date. */
export interface Mirror {
  watch(listener: (change: DefinitionChange) => void): Promise<Watch>;
  /** By key, with all that was written by anybody before the call. @throws AppError `unavailable` */
  current(): Promise<ReadonlyMap<string, Known>>;
  /** What is known right now; may be behind, but never says what was not. */
  byUid(uid: string): Known | undefined;
  close(): Promise<void>;
}

export interface MirrorDeps {
  readonly nats: Nats;
  readonly bucket: NatsBucket;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How long a reader waits for the mirror to be there, or to catch up. */
const patienceMs = 10_000;
const maxPauseMs = 500;

/** Follows the bucket from the first call on, with a new listing after each gap. */
export function createMirror(deps: MirrorDeps): Mirror {
  const state = createState();
  const waiting = createWaiting();
  const stopping = new AbortController();
  let following: Promise<void> | undefined;
  const start = (): void => {
    following ??= follow(deps, state, waiting.wake, stopping.signal);
  };
  const until = async (ready: () => boolean): Promise<void> => {
    if (stopping.signal.aborted) throw new AppError('unavailable', 'The definition store is closed.');
    start();
    await waiting.until(ready, () => behind(state.failure));
  };
  return {
    watch: async (listener) => {
      await until(() => state.live);
      for (const known of state.known.values()) listener(putOf(known));
      // Its own function, so that the same listener can be there twice.
      const entry = (change: DefinitionChange): void => listener(change);
      state.listeners.add(entry);
      return {
        stop: async () => {
          state.listeners.delete(entry);
        },
      };
    },
    current: async () => {
      start();
      const newest = await deps.bucket.lastRevision();
      await until(() => state.live && state.seen >= newest);
      return state.known;
    },
    byUid: (uid) => {
      const key = state.uids.get(uid);
      return key === undefined ? undefined : state.known.get(key);
    },
    close: async () => {
      stopping.abort();
      await following;
    },
  };
}

interface State {
  readonly known: Map<string, Known>;
  /** Key by uid. */
  readonly uids: Map<string, string>;
  readonly listeners: Set<(change: DefinitionChange) => void>;
  /** A feed stands, and its listing is complete. */
  live: boolean;
  /** Newest revision that is taken over. */
  seen: number;
  failure: unknown;
}

function createState(): State {
  return {
    known: new Map(),
    uids: new Map(),
    listeners: new Set(),
    live: false,
    seen: 0,
    failure: undefined,
  };
}

function behind(cause: unknown): AppError {
  return new AppError('unavailable', 'The definitions cannot be read from NATS now; try again.', {
    retryAfterSeconds: 1,
    cause,
  });
}

/** Readers that wait for the mirror. */
function createWaiting(): {
  until(ready: () => boolean, late: () => AppError): Promise<void>;
  wake(): void;
} {
  const waiters = new Set<() => void>();
  return {
    until: async (ready, late) => {
      if (ready()) return;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = (): void => {
        if (ready()) resolve();
      };
      const timer = setTimeout(() => reject(late()), patienceMs);
      waiters.add(look);
      try {
        await promise;
      } finally {
        clearTimeout(timer);
        waiters.delete(look);
      }
    },
    wake: () => {
      for (const look of waiters) look();
    },
  };
}

async function follow(deps: MirrorDeps, state: State, wake: () => void, signal: AbortSignal): Promise<void> {
  let pauseMs = 0;
  while (!signal.aborted) {
    try {
      const reason = await session(deps, state, wake, signal);
      state.failure = new Error(reason);
      pauseMs = 0;
      if (!signal.aborted) deps.log.info({ reason }, 'definitions are listed again');
    } catch (error) {
      state.failure = error;
      deps.log.debug({ reason: messageOf(error) }, 'definitions cannot be listed yet');
    }
    state.live = false;
    pauseMs = Math.min(maxPauseMs, pauseMs * 2 + 10);
    await deps.clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

/** One feed, from its listing to its end. @returns why it ended */
async function session(
  { nats, bucket, log }: MirrorDeps,
  state: State,
  wake: () => void,
  signal: AbortSignal,
): Promise<string> {
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const listed = new Set<string>();
  const newest = await bucket.lastRevision();
  // Revisions begin anew where a server has lost its disk.
  state.seen = 0;
  const feed = await openFeed(
    nats,
    bucket,
    { values: true },
    {
      entry: (entry) => {
        if (!state.live) listed.add(entry.key);
        apply(state, entry, log);
        if (state.live) wake();
      },
      complete: () => {
        for (const key of state.known.keys()) if (!listed.has(key)) forget(state, key);
        // A listing shows the newest revision of each key that is left; the bucket's own newest may be gone.
        state.seen = Math.max(state.seen, newest);
        state.live = true;
        listed.clear();
        wake();
      },
      broken: end,
    },
  );
  const onAbort = (): void => end('closed');
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return signal.aborted ? 'closed' : await ended;
  } finally {
    signal.removeEventListener('abort', onAbort);
    feed.stop();
  }
}

function apply(state: State, { key, revision, value }: FeedEntry, log: Logger): void {
  state.seen = Math.max(state.seen, revision);
  const before = state.known.get(key);
  if (before?.revision === revision) return;
  if (value === undefined) return forget(state, key);
  let record: DefinitionRecord;
  try {
    record = decodeRecord(value);
  } catch (error) {
    log.error(
      { err: error, key, revision },
      'a stored definition cannot be read; the last one that could stays',
    );
    return;
  }
  const { name, uid, version, secrets, floors } = record;
  // Made anew while nobody looked: nobody takes the new one for a version of the old one.
  if (before !== undefined && before.uid !== uid) forget(state, key);
  const known = { revision, name, uid, version, secrets, floors, bytes: value };
  state.known.set(key, known);
  state.uids.set(uid, key);
  tell(state, { kind: 'put', stored: storedOf(record) });
}

function forget(state: State, key: string): void {
  const known = state.known.get(key);
  if (known === undefined) return;
  state.known.delete(key);
  state.uids.delete(known.uid);
  tell(state, { kind: 'removed', name: known.name, uid: known.uid });
}

function putOf({ bytes }: Known): DefinitionChange {
  return { kind: 'put', stored: storedOf(decodeRecord(bytes)) };
}

function tell(state: State, change: DefinitionChange): void {
  for (const listener of state.listeners) listener(change);
}

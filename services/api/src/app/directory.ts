import { createHash, timingSafeEqual } from 'node:crypto';
import { stoppedAnnotation } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionChange, DefinitionStore, StoredDefinition, Watch } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { linksOf, type ServiceLinks } from '../domain/loops.ts';

/** What is kept of every service: enough to authenticate a call and to see loops, without script and secrets. */
export interface KnownService {
  readonly name: string;
  readonly uid: string;
  readonly links: ServiceLinks;
  /** Seconds that its script may run, where the definition says so. */
  readonly timeout: number | undefined;
  /** Its runners are ended until it is started again (OSCAR §1.6). */
  readonly stopped: boolean;
}

interface Entry extends KnownService {
  readonly tokenHash: Buffer;
}

/** The services there are, kept true by a watch, so that a call needs no read of the store. */
export interface Directory {
  /** Resolves when every service that exists is known. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The service that a token belongs to; found by hash and compared in constant time. */
  byToken(token: string): KnownService | undefined;
  /** Makes a service known at once that this process has just stored. */
  remember(stored: StoredDefinition, token: string): void;
  forget(name: string, uid: string): void;
  /** A service by its name. */
  get(name: string): KnownService | undefined;
  all(): Iterable<KnownService>;
  count(): number;
}

/** Milliseconds between two tries to read a token while the store is away. */
const retryMs = 500;

/** Compared where there is no such service, so that the answer takes as long. */
const nobody = Buffer.alloc(32);

export function createDirectory(deps: {
  readonly definitions: Pick<DefinitionStore, 'watch' | 'secrets'>;
  readonly clock: Clock;
  readonly log: Logger;
}): Directory {
  const byName = new Map<string, Entry>();
  const byHash = new Map<string, Entry>();
  const loader = createLoader(deps, (stored, token) => {
    put(stored, hashOf(token));
  });
  let watch: Watch | undefined;

  const forget = (name: string, uid: string): void => {
    loader.forget(name, uid);
    const entry = byName.get(name);
    if (entry?.uid !== uid) return;
    byName.delete(name);
    byHash.delete(entry.tokenHash.toString('hex'));
  };
  const put = (stored: StoredDefinition, tokenHash: Buffer): void => {
    const before = byName.get(stored.name);
    if (before !== undefined) forget(before.name, before.uid);
    const entry = entryOf(stored, tokenHash);
    byName.set(entry.name, entry);
    byHash.set(tokenHash.toString('hex'), entry);
  };
  const onChange = (change: DefinitionChange): void => {
    if (change.kind === 'removed') {
      forget(change.name, change.uid);
      return;
    }
    const before = byName.get(change.stored.name);
    // A service keeps its token through all its versions.
    if (before?.uid === change.stored.uid) put(change.stored, before.tokenHash);
    else loader.load(change.stored);
  };

  return {
    start: async () => {
      watch = await deps.definitions.watch(onChange);
      await loader.settled();
    },
    stop: async () => {
      await watch?.stop();
      watch = undefined;
      await loader.stop();
    },
    byToken: (token) => {
      const hash = hashOf(token);
      const entry = byHash.get(hash.toString('hex'));
      return timingSafeEqual(hash, entry?.tokenHash ?? nobody) ? entry : undefined;
    },
    remember: (stored, token) => {
      put(stored, hashOf(token));
    },
    forget,
    get: (name) => byName.get(name),
    all: () => byName.values(),
    count: () => byName.size,
  };
}

function entryOf({ name, uid, definition }: StoredDefinition, tokenHash: Buffer): Entry {
  return {
    name,
    uid,
    links: linksOf(definition),
    timeout: definition.sluice?.timeout,
    stopped: definition.annotations[stoppedAnnotation] === 'true',
    tokenHash,
  };
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

interface Loader {
  load(stored: StoredDefinition): void;
  forget(name: string, uid: string): void;
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** Reads tokens one after the other, the newest of a name only, until the store has given them. */
function createLoader(
  deps: {
    readonly definitions: Pick<DefinitionStore, 'secrets'>;
    readonly clock: Clock;
    readonly log: Logger;
  },
  loaded: (stored: StoredDefinition, token: string) => void,
): Loader {
  const pending = new Map<string, StoredDefinition>();
  const stopping = new AbortController();
  let working: Promise<void> | undefined;

  const loadOne = async (stored: StoredDefinition): Promise<void> => {
    const secrets = await deps.definitions.secrets(stored.uid, stored.version);
    // Another version or a removal may have come meanwhile.
    if (pending.get(stored.name) !== stored) return;
    pending.delete(stored.name);
    if (secrets !== undefined) loaded(stored, secrets.token);
  };
  const failed = async (stored: StoredDefinition, error: unknown): Promise<void> => {
    const again = !isAppError(error) || error.retry === 'later';
    const fields = { err: error, service: stored.name };
    if (pending.get(stored.name) === stored) {
      pending.delete(stored.name);
      // To the end of the line: one that fails for long must not keep the others waiting.
      if (again) pending.set(stored.name, stored);
    }
    if (!again) return deps.log.error(fields, 'the token of a service cannot be read; apply it again');
    deps.log.warn(fields, 'cannot read the token of a service, trying again');
    await deps.clock.sleep(retryMs, stopping.signal).catch(() => undefined);
  };
  const work = async (): Promise<void> => {
    for (;;) {
      const [next] = pending.values();
      if (next === undefined || stopping.signal.aborted) return;
      try {
        await loadOne(next);
      } catch (error) {
        await failed(next, error);
      }
    }
  };
  return {
    load: (stored) => {
      pending.set(stored.name, stored);
      working ??= work().finally(() => {
        working = undefined;
      });
    },
    forget: (name, uid) => {
      if (pending.get(name)?.uid === uid) pending.delete(name);
    },
    settled: async () => {
      await working;
    },
    stop: async () => {
      stopping.abort();
      await working;
    },
  };
}

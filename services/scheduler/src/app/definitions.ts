import type { DefinitionStore, StoredDefinition, Watch } from '@sluice/shared/stores';

/** The definitions as this process last saw them; the store is asked where the cache has none. */
export interface DefinitionCache {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The newest version that is known here, without asking the store. */
  known(name: string): StoredDefinition | undefined;
  get(name: string): Promise<StoredDefinition | undefined>;
}

/**
 * @param onRemoved called for each service that was removed or replaced under the same name
 * @param onPut called for each definition as it is now
 */
export function createDefinitionCache(
  store: DefinitionStore,
  onRemoved: (uid: string) => void,
  onPut: (stored: StoredDefinition) => void = () => undefined,
): DefinitionCache {
  const byName = new Map<string, StoredDefinition>();
  let watch: Watch | undefined;
  return {
    start: async () => {
      watch = await store.watch((change) => {
        if (change.kind === 'removed') {
          if (byName.get(change.name)?.uid === change.uid) byName.delete(change.name);
          onRemoved(change.uid);
          return;
        }
        const before = byName.get(change.stored.name);
        byName.set(change.stored.name, change.stored);
        if (before !== undefined && before.uid !== change.stored.uid) onRemoved(before.uid);
        onPut(change.stored);
      });
    },
    stop: async () => {
      await watch?.stop();
    },
    known: (name) => byName.get(name),
    get: async (name) => byName.get(name) ?? (await store.get(name)),
  };
}

import type { ServiceSecrets } from '@sluice/shared/contracts';
import type { DefinitionStore, StoredDefinition } from '@sluice/shared/stores';

/** One version of a service, with what only pods of it may know. */
export interface Version {
  readonly stored: StoredDefinition;
  readonly secrets: ServiceSecrets;
}

const keptVersions = 256;

/** Versions as they were read; they never change. Several that ask for one at the same time cost one read. */
export function createVersionCache(definitions: Pick<DefinitionStore, 'getVersion' | 'secrets'>): {
  get(uid: string, version: number): Promise<Version | undefined>;
} {
  const versions = new Map<string, Promise<Version | undefined>>();
  const read = async (uid: string, version: number): Promise<Version | undefined> => {
    const [stored, secrets] = await Promise.all([
      definitions.getVersion(uid, version),
      definitions.secrets(uid, version),
    ]);
    return stored === undefined ? undefined : { stored, secrets: secrets ?? { token: '', environment: {} } };
  };
  return {
    get: async (uid, version) => {
      const key = `${uid}/${version}`;
      const known = versions.get(key);
      const reading = known ?? read(uid, version);
      if (known !== undefined) versions.delete(key);
      versions.set(key, reading);
      const [oldest] = versions.keys();
      if (versions.size > keptVersions && oldest !== undefined) versions.delete(oldest);
      try {
        const found = await reading;
        if (found === undefined && versions.get(key) === reading) versions.delete(key);
        return found;
      } catch (error) {
        if (versions.get(key) === reading) versions.delete(key);
        throw error;
      }
    },
  };
}

import type { ServiceDefinition, ServiceSecrets, StorageProviders } from '@sluice/shared/contracts';

/** What stands in a definition where a secret was; also what OSCAR shows for its own keys. */
export const hidden = 'hidden';

/** Which fields of each third-party entry are secret (OSCAR §2.1, §10.4). */
const secretFields: Readonly<Record<keyof StorageProviders, readonly string[]>> = {
  s3: ['access_key', 'secret_key'],
  minio: ['access_key', 'secret_key'],
  onedata: ['token'],
  webdav: ['password'],
  rucio: ['refresh_token'],
};

/** The definition without secrets, and the secrets. */
export interface Separated {
  readonly definition: ServiceDefinition;
  readonly secrets: ServiceSecrets;
}

/**
 * Takes the secrets out of a definition. A value that says nothing (`""` of an environment secret, `""` or `hidden` of a
 * third party's) stands for the stored one, since that is what a client read (OSCAR §10.50).
 * @param stored secrets of the version before; undefined for a new service
 */
export function separateSecrets(
  definition: ServiceDefinition,
  token: string,
  stored: ServiceSecrets | undefined,
): Separated {
  const thirdParty = new Map<string, string>();
  const before = stored?.third_party ?? {};
  const hide = (path: string, value: string): string => {
    const kept = Object.hasOwn(before, path) ? (before[path] ?? '') : '';
    const secret = value === '' || value === hidden ? kept : value;
    if (secret !== '') thirdParty.set(path, secret);
    return secret === '' ? '' : hidden;
  };
  const environment = Object.entries(definition.environment.secrets).map(([name, value]) => {
    const kept =
      stored !== undefined && Object.hasOwn(stored.environment, name) ? stored.environment[name] : undefined;
    return [name, value === '' ? (kept ?? '') : value] as const;
  });
  return {
    definition: {
      ...mapThirdParty(definition, hide),
      token: '',
      environment: { ...definition.environment, secrets: blanked(definition.environment.secrets) },
    },
    secrets: {
      token,
      environment: Object.fromEntries(environment),
      ...(thirdParty.size === 0 ? {} : { third_party: Object.fromEntries(thirdParty) }),
    },
  };
}

/** A definition for a reader: nothing secret is in it, whatever an older version stored. */
export function exposeThirdParty(definition: ServiceDefinition): ServiceDefinition {
  const shown = mapThirdParty(definition, (_path, value) => (value === '' ? '' : hidden));
  return {
    ...shown,
    token: '',
    environment: { ...definition.environment, secrets: blanked(definition.environment.secrets) },
  };
}

function blanked(secrets: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(secrets).map((name) => [name, '']));
}

type Change = (path: string, value: string) => string;

function mapThirdParty(definition: ServiceDefinition, change: Change): ServiceDefinition {
  const { storage_providers: providers, clusters } = definition;
  return {
    ...definition,
    ...(providers === undefined ? {} : { storage_providers: mapProviders(providers, change) }),
    ...(clusters === undefined
      ? {}
      : {
          clusters: mapEntries(clusters, (id, cluster) =>
            changeFields(cluster, ['auth_password'], `clusters.${id}`, change),
          ),
        }),
  };
}

function mapProviders(providers: StorageProviders, change: Change): StorageProviders {
  const mapped = Object.entries(providers).map(([kind, entries]) => {
    const fields = secretFields[kind as keyof StorageProviders];
    const path = `storage_providers.${kind}`;
    return [
      kind,
      mapEntries<object>(entries, (id, entry) => {
        // The installation's own keys are never a user's.
        if (kind === 'minio' && id === 'default') return entry;
        return changeFields(entry, fields, `${path}.${id}`, change);
      }),
    ];
  });
  return Object.fromEntries(mapped) as StorageProviders;
}

function mapEntries<T>(
  entries: Readonly<Record<string, T>>,
  map: (id: string, entry: T) => T,
): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).map(([id, entry]) => [id, map(id, entry)]));
}

function changeFields<T extends object>(
  entry: T,
  fields: readonly string[],
  path: string,
  change: Change,
): T {
  const changed = Object.entries(entry).map(([name, value]: [string, unknown]) => [
    name,
    fields.includes(name) && typeof value === 'string' ? change(`${path}.${name}`, value) : value,
  ]);
  return Object.fromEntries(changed) as T;
}

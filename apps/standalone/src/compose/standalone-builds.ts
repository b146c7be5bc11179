import { accountsSource, type apiVariables, type Builds } from '@sluice/api';
import { createFileAccounts, type FileAccounts } from '@sluice/api/adapters';
import { createFolderRunLogs, type RedisConnectionOptions } from '@sluice/shared/adapters';
import type { Look } from '@sluice/shared/checks';
import type { ConfigOf, Secret } from '@sluice/shared/config';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import type { DataFolder } from '../data-folder.ts';
import type { StandaloneConfig } from '../variables.ts';
import { composeBuilder, composeBuilds } from './builds.ts';
import type { AdapterChoice } from './choice.ts';
import type { StoresParts } from './stores.ts';

/** What of builds a standalone server has: all, or nothing and the reason. */
export interface StandaloneBuilds {
  readonly choice: AdapterChoice;
  readonly builds: Builds | undefined;
  readonly builder: Component | undefined;
  readonly looks: readonly Look[];
  close(): Promise<void>;
}

export interface StandaloneBuildsDeps {
  readonly config: StandaloneConfig;
  readonly folder: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stores: Pick<StoresParts, 'definitions' | 'bus'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
}

/**
 * The builder of a standalone server, on when its servers are named.
 * @throws ConfigError for accounts that cannot be read
 */
export async function composeStandaloneBuilds(deps: StandaloneBuildsDeps): Promise<StandaloneBuilds> {
  const { config, folder, env, clock, log } = deps;
  const { REDIS_URL: url } = config;
  const missing = ['REDIS_URL', 'BUILDKIT_HOST', 'REGISTRY_HOST'].filter((name) =>
    name === 'REDIS_URL' ? url === undefined : config[name as 'BUILDKIT_HOST'] === '',
  );
  if (url === undefined || missing.length > 0) {
    const chosenBy = `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not set`;
    return {
      choice: { port: 'builds', adapter: 'none', chosenBy },
      builds: undefined,
      builder: undefined,
      looks: [],
      close: async () => {},
    };
  }
  const accounts = await openAccounts(config, log);
  const parts = await composeBuilds({
    values: config,
    redis: redisOf(config, url, { clock, log }),
    definitions: deps.stores.definitions,
    logs: createFolderRunLogs({
      root: folder.buildLogs,
      clock,
      maxBytes: config.SLUICE_BUILD_LOG_LIMIT,
    }),
    logins: accounts.logins,
    metrics: deps.metrics,
    clock,
    log,
  });
  return {
    ...composeBuilder(parts, {
      values: config,
      env,
      environmentOf: accounts.environmentOf,
      bus: deps.stores.bus,
      metrics: deps.metrics,
      tracer: deps.tracer,
      tmpRoot: folder.work,
      graceMs: config.SLUICE_DRAIN_TIMEOUT * 1000,
    }),
    choice: {
      port: 'builds',
      adapter: `BuildKit at ${config.BUILDKIT_HOST}, images in ${config.REGISTRY_HOST}`,
      chosenBy: 'BUILDKIT_HOST, REGISTRY_HOST and REDIS_URL',
    },
    builds: { desk: parts.desk, accounts },
    close: () => parts.close(),
  };
}

/** Accounts beside the administrator's, who builds under the name that opens all else. */
export async function openAccounts(
  config: Pick<ConfigOf<typeof apiVariables>, 'SLUICE_ACCOUNTS' | 'SLUICE_ACCOUNTS_FILE' | 'OSCAR_USERNAME'>,
  log: Logger,
): Promise<FileAccounts> {
  return createFileAccounts({
    source: accountsSource(config),
    // What is under "library" is for all to build on, and "probe" is where pushes are tried.
    reserved: new Set([config.OSCAR_USERNAME.toLowerCase(), 'library', 'probe']),
    log,
  });
}

function redisOf(
  { REDIS_CA: ca, SLUICE_NAMESPACE: namespace }: StandaloneConfig,
  url: Secret,
  deps: Pick<StandaloneBuildsDeps, 'clock' | 'log'>,
): RedisConnectionOptions {
  return { url, ca: ca === '' ? undefined : ca, namespace, name: 'sluice-builds', ...deps };
}

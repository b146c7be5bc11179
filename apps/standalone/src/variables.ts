import { apiVariables } from '@sluice/api';
import { buildDeskVariables, builderFaults, builderVariables, cleanUpVariables } from '@sluice/builder';
import { schedulerVariables } from '@sluice/scheduler';
import {
  ConfigError,
  loadConfig,
  type ConfigFault,
  type ConfigOf,
  type ReadFile,
} from '@sluice/shared/config';
import { tracingVariables } from '@sluice/shared/telemetry';
import { storageEventsVariables } from '@sluice/storage-events';
import { runnerVariables, supervisorVariables } from '@sluice/supervisor';
import { standaloneVariables } from './config.ts';
import { s3Faults } from '@sluice/shared/adapters';

/** All variables that the standalone server reads; `docs/operation.md` lists them and a test compares. */
export const variables = {
  ...standaloneVariables,
  ...apiVariables,
  ...schedulerVariables,
  ...supervisorVariables,
  ...runnerVariables,
  ...storageEventsVariables,
  ...buildDeskVariables,
  ...builderVariables,
  ...cleanUpVariables,
  ...tracingVariables,
};

export type StandaloneConfig = ConfigOf<typeof variables>;

/** @throws ConfigError with every fault */
export function readVariables(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): StandaloneConfig {
  let config: StandaloneConfig;
  try {
    config = loadConfig(variables, env, readFile);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError([...error.faults, ...faultsBeside(error, env, readFile)]);
  }
  const faults = together(config);
  if (faults.length > 0) throw new ConfigError(faults);
  return config;
}

/** What several variables have wrong together, those left out that are malformed themselves. */
function faultsBeside(
  { faults }: ConfigError,
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): readonly ConfigFault[] {
  const malformed = new Set(faults.map(({ variable }) => variable));
  const sound = Object.entries(env).filter(([name]) => !malformed.has(name.replace(/_FILE$/, '')));
  const config = loadConfig(variables, Object.fromEntries(sound), readFile);
  return together(config).filter(({ variable }) => !malformed.has(variable));
}

function together(config: StandaloneConfig): readonly ConfigFault[] {
  return [...s3Faults(config), ...builderFaults(config)];
}

import { apiVariables } from '@sluice/api';
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
import { standaloneVariables, unsupportedVariables } from './config.ts';
import { s3Faults } from '@sluice/shared/adapters';

/** All variables that the standalone server reads; `docs/operation.md` lists them and a test compares. */
export const variables = {
  ...standaloneVariables,
  ...apiVariables,
  ...schedulerVariables,
  ...supervisorVariables,
  ...runnerVariables,
  ...storageEventsVariables,
  ...tracingVariables,
};

export type StandaloneConfig = ConfigOf<typeof variables>;

/** @throws ConfigError with every fault, those of adapters that are not here included */
export function readVariables(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): StandaloneConfig {
  const refused = Object.entries(unsupportedVariables).flatMap(([variable, instead]): ConfigFault[] => {
    const given = (env[variable] ?? '') !== '' || (env[`${variable}_FILE`] ?? '') !== '';
    return given ? [{ variable, message: `is not supported by this version: ${instead}; unset it` }] : [];
  });
  let config: StandaloneConfig;
  try {
    config = loadConfig(variables, env, readFile);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError([...error.faults, ...refused, ...faultsBeside(error, env, readFile)]);
  }
  const faults = [...refused, ...s3Faults(config)];
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
  return s3Faults(config).filter(({ variable }) => !malformed.has(variable));
}

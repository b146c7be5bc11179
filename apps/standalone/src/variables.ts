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
import { runnerVariables } from '@sluice/supervisor';
import { standaloneVariables, unsupportedVariables } from './config.ts';
import { s3Faults } from './s3-settings.ts';

/** All variables that the standalone server reads; `docs/operation.md` lists them and a test compares. */
export const variables = {
  ...standaloneVariables,
  ...apiVariables,
  ...schedulerVariables,
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
  try {
    const config = loadConfig(variables, env, readFile);
    refused.push(...s3Faults(config));
    if (refused.length > 0) throw new ConfigError(refused);
    return config;
  } catch (error) {
    if (error instanceof ConfigError && error.faults !== refused) {
      throw new ConfigError([...error.faults, ...refused]);
    }
    throw error;
  }
}

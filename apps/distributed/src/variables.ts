import { apiVariables } from '@sluice/api';
import { buildDeskVariables, builderFaults, builderVariables, cleanUpVariables } from '@sluice/builder';
import { schedulerVariables } from '@sluice/scheduler';
import { s3Faults, secretKeys } from '@sluice/shared/adapters';
import {
  ConfigError,
  integer,
  loadConfig,
  namespaceVariables,
  natsVariables,
  oneOf,
  redisVariables,
  s3Variables,
  secret,
  text,
  type ConfigFault,
  type ConfigOf,
  type ReadFile,
  type Secret,
  type Variable,
} from '@sluice/shared/config';
import { tracingVariables } from '@sluice/shared/telemetry';
import { notifyVariables, storageEventsVariables } from '@sluice/storage-events';
import { runnerVariables, supervisorVariables } from '@sluice/supervisor';
import { clusterVariables } from './cluster-variables.ts';

/** Variables of each process of the distributed form. */
const processVariables = {
  SLUICE_LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent'], {
    why: 'Log lines (JSON, on standard error) from this level on.',
    fallback: 'info',
  }),
  SLUICE_HEALTH_HOST: text({
    why: 'Address that /health/live, /health/ready and /metrics of the process listen on.',
    fallback: '0.0.0.0',
  }),
  SLUICE_HEALTH_PORT: integer({
    why: 'Their port; 0 takes a free one.',
    min: 0,
    max: 65_535,
    fallback: 8090,
  }),
  SLUICE_START_WAIT: integer({
    why: 'Seconds that the process waits at its start for servers that are not there yet, before it ends with what is missing.',
    min: 0,
    max: 3600,
    fallback: 60,
  }),
  ...namespaceVariables,
  ...natsVariables,
  ...redisVariables,
  ...s3Variables,
  ...tracingVariables,
};

/** The key that secrets of services lie under, and the one that tokens are made from: for api and scheduler only. */
const keyVariables = {
  SLUICE_SECRETS_KEY: secretKeys<undefined>({
    why: 'Keys that secrets of services are encrypted with, `name:base64 of 32 bytes` separated by commas: the first encrypts, all of them decrypt.',
    fallback: undefined,
  }),
  SLUICE_RUNNER_KEY: secret<Secret | undefined>({
    why: 'Secret of 32 characters or more that the tokens of pods and warm runners are made from: the same for api and scheduler.',
    fallback: undefined,
  }),
};

/** By component, all variables that its process reads; the deploy guide lists them. */
export const componentVariables = {
  api: {
    ...processVariables,
    ...keyVariables,
    ...apiVariables,
    ...buildDeskVariables,
    ...cleanUpVariables,
  },
  scheduler: {
    ...processVariables,
    ...keyVariables,
    ...clusterVariables,
    ...schedulerVariables,
    ...supervisorVariables,
    ...runnerVariables,
    SLUICE_CLAIM_MARGIN: storageEventsVariables.SLUICE_CLAIM_MARGIN,
    SLUICE_BODY_LIMIT: apiVariables.SLUICE_BODY_LIMIT,
  },
  'storage-events': {
    ...processVariables,
    ...storageEventsVariables,
    ...notifyVariables,
    SLUICE_WEBHOOK_HOST: text({ why: 'Address that the webhook listens on.', fallback: '0.0.0.0' }),
  },
  builder: {
    ...processVariables,
    ...buildDeskVariables,
    ...builderVariables,
    ...cleanUpVariables,
    SLUICE_ACCOUNTS: apiVariables.SLUICE_ACCOUNTS,
    SLUICE_ACCOUNTS_FILE: apiVariables.SLUICE_ACCOUNTS_FILE,
    KUBECONFIG: clusterVariables.KUBECONFIG,
    OSCAR_USERNAME: apiVariables.OSCAR_USERNAME,
    SLUICE_DRAIN_TIMEOUT: schedulerVariables.SLUICE_DRAIN_TIMEOUT,
  },
} as const;

export type ProcessConfig = ConfigOf<typeof processVariables>;
export type ApiProcessConfig = ConfigOf<(typeof componentVariables)['api']>;
export type SchedulerProcessConfig = ConfigOf<(typeof componentVariables)['scheduler']>;
export type BuilderProcessConfig = ConfigOf<(typeof componentVariables)['builder']>;
export type StorageEventsProcessConfig = ConfigOf<(typeof componentVariables)['storage-events']>;

type Env = Readonly<Record<string, string | undefined>>;

/** @throws ConfigError with every fault */
export function readComponentVariables<V extends Readonly<Record<string, Variable<unknown>>>>(
  variables: V,
  env: Env,
  readFile: ReadFile,
): ConfigOf<V> {
  let values: ConfigOf<V>;
  try {
    values = loadConfig(variables, env, readFile);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError([...error.faults, ...missing(variables, env)]);
  }
  const faults = [
    ...missing(variables, env),
    ...s3Faults(values as unknown as ProcessConfig),
    ...('REGISTRY_HOST' in values ? builderFaults(values as unknown as ApiProcessConfig) : []),
  ];
  if (faults.length > 0) throw new ConfigError(faults);
  return values;
}

/** What a standalone server does without, and a component of its own cannot. */
const needed: Readonly<Record<string, string>> = {
  NATS_URL: 'nats://host:4222',
  REDIS_URL: 'redis://host:6379',
  MINIO_ENDPOINT: 'http://host:9000',
  OSCAR_PASSWORD: 'the password of the administrator',
  SLUICE_SECRETS_KEY: '`1:` and the output of "openssl rand -base64 32"',
  SLUICE_RUNNER_KEY: 'the output of "openssl rand -hex 32"',
};

function missing(variables: object, env: Env): ConfigFault[] {
  return Object.entries(needed)
    .filter(([name]) => name in variables && (env[name] ?? '') === '' && (env[`${name}_FILE`] ?? '') === '')
    .map(([variable, example]) => ({ variable, message: `is missing; give ${example}` }));
}

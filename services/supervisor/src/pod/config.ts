import { integer, loadConfig, oneOf, secret, text, type ReadFile, type Secret } from '@sluice/shared/config';
import { podVariables } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';

const largest = 2 ** 31 - 1;

/** Variables of a supervisor in a pod, which the scheduler sets. */
const variables = {
  [podVariables.mode]: oneOf(['run', 'runner'], { why: 'What the pod is for.' }),
  [podVariables.schedulerUrl]: text({ why: 'Whom the supervisor asks for its plan.' }),
  [podVariables.pod]: text({ why: "The pod's name." }),
  [podVariables.token]: secret({ why: 'Shows the scheduler which attempt or runner this is.' }),
  [podVariables.graceSeconds]: integer({
    why: 'Seconds between the word to end and the end.',
    min: 1,
    max: 3600,
    fallback: 30,
  }),
  [podVariables.instance]: text({
    why: "Names the installation in a script's environment.",
    fallback: 'sluice',
  }),
  [podVariables.runId]: text({ why: 'The run, in a pod for one.', fallback: '' }),
  [podVariables.attempt]: integer({ why: 'Its attempt.', min: 1, max: largest, fallback: 1 }),
  [podVariables.runnerId]: text({ why: 'The runner, in a pod for calls.', fallback: '' }),
  [podVariables.service]: text({ why: "The runner's service.", fallback: '' }),
  [podVariables.serviceUid]: text({
    why: 'Tells a service from one that had its name before.',
    fallback: '',
  }),
  [podVariables.serviceVersion]: integer({ why: 'Of its definition.', min: 0, max: largest, fallback: 0 }),
  [podVariables.runnerPort]: integer({ why: 'Where a runner listens.', min: 1, max: 65_535, fallback: 8080 }),
};

/** Which pod this is. */
export type PodSelf =
  | { readonly kind: 'attempt'; readonly pod: string; readonly runId: string; readonly attempt: number }
  | {
      readonly kind: 'runner';
      readonly pod: string;
      readonly runnerId: string;
      readonly service: string;
      readonly serviceUid: string;
      readonly serviceVersion: number;
    };

export interface PodConfig {
  readonly self: PodSelf;
  readonly schedulerUrl: URL;
  readonly token: Secret;
  readonly graceMs: number;
  readonly instance: string;
  readonly runnerPort: number;
}

/** @throws ConfigError, AppError `invalid_input` */
export function loadPodConfig(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): PodConfig {
  const values = loadConfig(variables, env, readFile);
  const pod = values.SLUICE_POD_NAME;
  const self: PodSelf =
    values.SLUICE_POD_MODE === 'run'
      ? {
          kind: 'attempt',
          pod,
          runId: given(podVariables.runId, values.SLUICE_RUN_ID),
          attempt: values.SLUICE_ATTEMPT,
        }
      : {
          kind: 'runner',
          pod,
          runnerId: given(podVariables.runnerId, values.SLUICE_RUNNER_ID),
          service: given(podVariables.service, values.SLUICE_SERVICE),
          serviceUid: given(podVariables.serviceUid, values.SLUICE_SERVICE_UID),
          serviceVersion: values.SLUICE_SERVICE_VERSION,
        };
  return {
    self,
    schedulerUrl: new URL(values.SLUICE_SCHEDULER_URL),
    token: values.SLUICE_POD_TOKEN,
    graceMs: values.SLUICE_POD_GRACE * 1000,
    instance: values.SLUICE_INSTANCE,
    runnerPort: values.SLUICE_RUNNER_PORT,
  };
}

function given(name: string, value: string): string {
  if (value !== '') return value;
  throw new AppError('invalid_input', `The variable ${name} is missing.`, { field: name });
}

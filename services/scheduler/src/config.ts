import { integer, secret, text } from '@sluice/shared/config';

/** Variables of the scheduler; `TTL_JOB` is OSCAR's (OSCAR §8). */
export const schedulerVariables = {
  SLUICE_MAX_RUNS: integer({
    why: 'Runs at the same time over all services; declared CPU and memory may allow fewer.',
    min: 1,
    max: 10_000,
    fallback: 64,
  }),
  SLUICE_RUN_TIMEOUT: integer({
    why: 'Seconds a script may run where its definition has no sluice.timeout.',
    min: 1,
    max: 2_592_000,
    fallback: 86_400,
  }),
  SLUICE_DRAIN_TIMEOUT: integer({
    why: 'Seconds that scripts under way get to end when the server is stopped; what has not ended then runs again after the next start.',
    min: 0,
    max: 3600,
    fallback: 5,
  }),
  SLUICE_MAX_RUNNERS: integer({
    why: 'Warm runners for /run calls at the same time over all services; declared CPU and memory may allow fewer.',
    min: 1,
    max: 10_000,
    fallback: 32,
  }),
  SLUICE_RUNNER_IDLE: integer({
    why: 'Seconds that a warm runner beyond synchronous.min_scale is kept without calls.',
    min: 0,
    max: 86_400,
    fallback: 60,
  }),
  SLUICE_RETENTION_INTERVAL: integer({
    why: 'Seconds between two looks for what is past its retention.',
    min: 1,
    max: 86_400,
    fallback: 60,
  }),
  TTL_JOB: integer({
    why: 'Seconds that records and logs of finished runs are kept.',
    min: 1,
    max: 315_360_000,
    fallback: 2_592_000,
  }),
};

/** Variables of the storage keys that pods get. */
export const podStorageVariables = {
  SLUICE_POD_S3_DURATION: integer({
    why: 'Seconds that the storage keys of a pod last; at most what the S3 server allows. Pods renew them.',
    min: 900,
    max: 604_800,
    fallback: 43_200,
  }),
  SLUICE_POD_S3_ACCESS_KEY: text({
    why: 'Access key that all pods get where the S3 server has no short-lived keys (AssumeRole). Weaker: it opens the paths of all services and does not expire.',
    fallback: undefined,
  }),
  SLUICE_POD_S3_SECRET_KEY: secret({
    why: 'Secret key of SLUICE_POD_S3_ACCESS_KEY.',
    fallback: undefined,
  }),
};

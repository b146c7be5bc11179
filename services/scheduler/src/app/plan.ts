import type { AttemptPlan, Run } from '@sluice/shared/contracts';
import type { StoredDefinition } from '@sluice/shared/stores';
import { attemptTraceparent } from '@sluice/shared/telemetry';

/** All that an executor or a pod needs for one attempt. */
export function planFor(
  run: Run,
  stored: StoredDefinition,
  secrets: AttemptPlan['secrets'] | undefined,
  defaultTimeoutMs: number,
): AttemptPlan {
  const { definition } = stored;
  const seconds = definition.sluice?.timeout;
  return {
    run_id: run.id,
    attempt: run.attempt,
    service_uid: stored.uid,
    service_version: stored.version,
    definition,
    script: definition.script ?? '',
    secrets: secrets ?? { token: '', environment: {} },
    event: run.event,
    ...(run.input === undefined ? {} : { input: run.input }),
    traceparent: attemptTraceparent(run),
    hop: run.hop,
    timeout_ms: seconds === undefined ? defaultTimeoutMs : seconds * 1000,
  };
}

import {
  activeStates,
  runnerToken,
  type AttemptGrant,
  type AttemptRef,
  type AttemptReport,
  type PodLimits,
  type Run,
  type RunnerClaim,
  type RunnerGrant,
  type StorageGrant,
} from '@sluice/shared/contracts';
import type { Secret } from '@sluice/shared/config';
import { AppError } from '@sluice/shared/errors';
import type { DefinitionStore, RunLedger } from '@sluice/shared/stores';
import type { StorageGrants } from '../ports.ts';
import type { DefinitionCache } from './definitions.ts';
import { planFor } from './plan.ts';
import type { Settler } from './settle.ts';
import { createVersionCache, type Version } from './versions.ts';

export interface DeskDeps {
  readonly ledger: Pick<RunLedger, 'get'>;
  readonly definitions: DefinitionStore;
  readonly cache: DefinitionCache;
  readonly settler: Settler;
  readonly grants: StorageGrants;
  readonly limits: DeskLimits;
  /** What the tokens are made with that callers show to runners (`runnerToken`). */
  readonly runnerKey: Secret;
  readonly defaultTimeoutMs: number;
}

export interface DeskLimits {
  readonly attempts: PodLimits;
  readonly runners: RunnerGrant['limits'];
}

/** Where supervisors in pods ask for their work and say how it went; whoever asks has shown its token. */
export interface AttemptDesk {
  /** @throws AppError `conflict` when the ledger wants this attempt no more, `unavailable` */
  claim(ref: AttemptRef, pod: string): Promise<AttemptGrant>;
  /** @throws AppError `conflict` for progress of an attempt that is not wanted any more, `unavailable` */
  report(report: AttemptReport): Promise<void>;
  /** @throws AppError `conflict`, `unavailable` */
  renew(ref: AttemptRef): Promise<StorageGrant>;
  /** @throws AppError `conflict` when the service is gone, `unavailable` */
  claimRunner(runnerId: string, claim: RunnerClaim): Promise<RunnerGrant>;
  /** @throws AppError `conflict`, `unavailable` */
  renewRunner(claim: RunnerClaim): Promise<StorageGrant>;
}

/** Claims whose pod is remembered. */
const rememberedClaims = 4096;

export function createAttemptDesk(deps: DeskDeps): AttemptDesk {
  const versions = createVersionCache(deps.definitions);
  const pods = createPodMemory();
  return {
    claim: async (ref, pod) => {
      const run = await wanted(deps, ref);
      pods.check(run, pod);
      const { stored, secrets } = await versionOf(versions.get, run);
      const storage = await deps.grants.grant(stored.definition);
      pods.note(run, pod);
      return {
        plan: planFor(run, stored, secrets, deps.defaultTimeoutMs),
        storage,
        limits: deps.limits.attempts,
        run,
      };
    },
    report: async (report) => {
      const applied = await deps.settler.reportOnce(report);
      // An end that comes late or twice is heard all the same: whoever says it has nothing left to do.
      if (!applied && report.kind === 'progress') throw unwanted('it has ended or was given up');
    },
    renew: async (ref) => {
      const { stored } = await versionOf(versions.get, await wanted(deps, ref));
      return deps.grants.grant(stored.definition);
    },
    claimRunner: async (runnerId, claim) => {
      const { stored, secrets } = await runnerVersion(deps, versions.get, claim);
      return {
        plan: {
          runner_id: runnerId,
          service_uid: stored.uid,
          service_version: stored.version,
          definition: stored.definition,
          script: stored.definition.script ?? '',
          secrets,
        },
        storage: await deps.grants.grant(stored.definition),
        token: runnerToken(deps.runnerKey.reveal(), runnerId),
        limits: deps.limits.runners,
      };
    },
    renewRunner: async (claim) => {
      const { stored } = await runnerVersion(deps, versions.get, claim);
      return deps.grants.grant(stored.definition);
    },
  };
}

/** The run, where the ledger has this attempt of it under way. */
async function wanted({ ledger }: DeskDeps, ref: AttemptRef): Promise<Run> {
  const run = await ledger.get(ref.run_id);
  if (run === undefined) throw unwanted('nobody knows its run');
  if (run.attempt !== ref.attempt) throw unwanted(`its run is at attempt ${run.attempt}`);
  if (!(activeStates as readonly string[]).includes(run.state)) throw unwanted(`its run is ${run.state}`);
  if (run.cancel_requested_at !== undefined) throw unwanted('its run was cancelled');
  return run;
}

function unwanted(why: string): AppError {
  return new AppError('conflict', `The attempt is not wanted any more: ${why}.`);
}

async function versionOf(
  get: (uid: string, version: number) => Promise<Version | undefined>,
  run: Run,
): Promise<Version> {
  const version = await get(run.service_uid, run.service_version ?? 0);
  if (version === undefined) throw unwanted('its version of the service is gone');
  return version;
}

async function runnerVersion(
  { cache }: DeskDeps,
  get: (uid: string, version: number) => Promise<Version | undefined>,
  claim: RunnerClaim,
): Promise<Version> {
  const gone = (): AppError =>
    new AppError('conflict', `The runner is not wanted any more: the service ${claim.service} is gone.`);
  if ((await cache.get(claim.service))?.uid !== claim.service_uid) throw gone();
  const version = await get(claim.service_uid, claim.service_version);
  if (version?.stored.name !== claim.service) throw gone();
  return version;
}

/**
 * Which pod claimed which attempt here. A second pod of an attempt whose script runs would run it again without that being counted; where this replica does not know
 * the first one, the outcome, which is written once, still keeps the two apart. Before the script any pod may go on.
 */
function createPodMemory(): { check(run: Run, pod: string): void; note(run: Run, pod: string): void } {
  const pods = new Map<string, string>();
  const keyOf = (run: Run): string => `${run.id}.${run.attempt}`;
  return {
    check: (run, pod) => {
      const first = pods.get(keyOf(run));
      if (run.state === 'running' && first !== undefined && first !== pod)
        throw unwanted('another pod runs its script');
    },
    note: (run, pod) => {
      const key = keyOf(run);
      pods.delete(key);
      pods.set(key, pod);
      const [oldest] = pods.keys();
      if (pods.size > rememberedClaims && oldest !== undefined) pods.delete(oldest);
    },
  };
}

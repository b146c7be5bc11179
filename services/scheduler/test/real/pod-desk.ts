import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createS3ObjectStore } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import {
  logsPrefix,
  outcomeKey,
  runnerToken,
  type AttemptPlan,
  type AttemptRef,
  type AttemptReport,
  type OutcomeRecord,
  type RunnerPlan,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { createS3Grants } from '../../src/adapters/index.ts';
import type { AttemptStanding } from '../../src/adapters/index.ts';
import { nextStep } from '../../src/domain/next-step.ts';
import { createAttemptsServer, createOutcomes, type AttemptDesk } from '../../src/index.ts';

const mib = 2 ** 20;

/** Real supervisors ask here for their work; what they do is known from plans instead of a ledger. */
export interface PodDesk {
  /** As pods reach it. */
  readonly url: string;
  readonly tokenKey: Secret;
  readonly attempts: Map<string, AttemptPlan>;
  readonly runners: Map<string, RunnerPlan>;
  standingOf(ref: AttemptRef): Promise<AttemptStanding>;
  readOutcome(ref: AttemptRef & { readonly service: string }): Promise<OutcomeRecord | undefined>;
  /** One end of an attempt is told, whoever reports it first. */
  report(report: AttemptReport): Promise<void>;
  /** Exactly one listener. */
  onReport(listener: (report: AttemptReport) => Promise<void>): void;
  /** Notes a wish to cancel, as the ledger does. */
  noteCancel(ref: AttemptRef, reason: string): void;
  /** Stops the server and removes what attempts have written. */
  close(): Promise<void>;
}

function needed(name: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new Error(
    `this test needs a cluster whose pods reach this machine, an S3 server, a registry and BuildKit: set ${name}`,
  );
}

/** The image of supervisors, built and pushed where that was not done yet. */
export async function supervisorImage(): Promise<string> {
  const tool = fileURLToPath(new URL('../../../../tools/build-image.mjs', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [tool, 'supervisor']);
  return stdout.trim();
}

const keyOf = (ref: AttemptRef): string => `${ref.run_id}.${ref.attempt}`;

export async function openPodDesk(): Promise<PodDesk> {
  const gateway = needed('TESTBED_GATEWAY');
  const connection = {
    endpoint: new URL(needed('MINIO_ENDPOINT')),
    region: 'us-east-1',
    accessKey: needed('MINIO_ACCESS_KEY'),
    secretKey: new Secret(needed('MINIO_SECRET_KEY')),
    verify: true,
  };
  const objects = await createS3ObjectStore({ connection, clock });
  await objects.createBucket(SYSTEM_BUCKET, {});
  const log = silentLogger();
  const outcomes = createOutcomes(objects, log);
  const tokenKey = new Secret(randomBytes(32).toString('base64url'));
  const podEndpoint = new URL(connection.endpoint);
  podEndpoint.hostname = gateway;
  const { grant } = createS3Grants({ connection, podEndpoint, clock });
  const attempts = new Map<string, AttemptPlan>();
  const runners = new Map<string, RunnerPlan>();
  const standing = new Map<string, AttemptStanding>();
  const wishes = new Map<string, string>();
  let listener = (_report: AttemptReport): Promise<void> => Promise.resolve();
  const standingOf = (ref: AttemptRef): AttemptStanding => standing.get(keyOf(ref)) ?? 'starting';
  const report = async (one: AttemptReport): Promise<void> => {
    if (standingOf(one) === 'over') return;
    standing.set(keyOf(one), one.kind === 'finished' ? 'over' : 'running');
    await listener(one.kind === 'finished' ? judged(one, wishes.get(keyOf(one))) : one);
  };
  const server = createAttemptsServer({
    desk: deskOf({ attempts, runners, standingOf, report, grant, tokenKey }),
    tokenKey,
    host: '0.0.0.0',
    port: 0,
    clock,
    log,
    metrics: createMetrics(),
  });
  await server.start();
  return {
    url: `http://${gateway}:${server.port()}`,
    tokenKey,
    attempts,
    runners,
    standingOf: async (ref) => standingOf(ref),
    readOutcome: (ref) => outcomes.read({ ...ref, runId: ref.run_id }),
    report,
    onReport: (next) => {
      listener = next;
    },
    noteCancel: (ref, reason) => void wishes.set(keyOf(ref), reason),
    close: async () => {
      await server.stop();
      for (const { run_id: runId, attempt, definition } of attempts.values()) {
        await objects.remove(SYSTEM_BUCKET, outcomeKey({ service: definition.name, runId, attempt }));
        const prefix = `${logsPrefix(definition.name)}${runId}/`;
        const { objects: segments } = await objects.list(SYSTEM_BUCKET, { prefix, limit: 1000 });
        for (const { key } of segments) await objects.remove(SYSTEM_BUCKET, key);
      }
      await objects.close();
    },
  };
}

/** The end as the run would have it. */
function judged(
  report: Extract<AttemptReport, { kind: 'finished' }>,
  wish: string | undefined,
): AttemptReport {
  const { attempt, outcome } = report;
  const run = { attempt, infra_failures: 0, script_failures: 0, timeline: [] };
  const noted = { at: 1, attempt, state: 'running' } as const;
  const asked = wish === undefined ? {} : { cancel_requested_at: 1, timeline: [{ ...noted, message: wish }] };
  const step = nextStep({ ...run, ...asked }, outcome, {});
  return step.kind === 'finish' ? { ...report, outcome: step.outcome } : report;
}

function deskOf(parts: {
  readonly attempts: ReadonlyMap<string, AttemptPlan>;
  readonly runners: ReadonlyMap<string, RunnerPlan>;
  readonly standingOf: (ref: AttemptRef) => AttemptStanding;
  readonly report: (report: AttemptReport) => Promise<void>;
  readonly grant: ReturnType<typeof createS3Grants>['grant'];
  readonly tokenKey: Secret;
}): AttemptDesk {
  const { attempts, runners, standingOf, report, grant, tokenKey } = parts;
  const unwanted = (): AppError => new AppError('conflict', 'Nobody wants this any more.');
  const attemptOf = (ref: AttemptRef): AttemptPlan => {
    const plan = attempts.get(keyOf(ref));
    if (plan === undefined || standingOf(ref) === 'over') throw unwanted();
    return plan;
  };
  const runnerOf = (id: string): RunnerPlan => {
    const plan = runners.get(id);
    if (plan === undefined) throw unwanted();
    return plan;
  };
  return {
    claim: async (ref) => {
      const plan = attemptOf(ref);
      const storage = await grant(plan.definition);
      return { plan, storage, limits: { output_bytes: 64 * mib, log_bytes: mib } };
    },
    report: async (one) => {
      if (one.kind === 'progress') attemptOf(one);
      await report(one);
    },
    renew: async (ref) => grant(attemptOf(ref).definition),
    claimRunner: async (id) => {
      const plan = runnerOf(id);
      const limits = { output_bytes: 64 * mib, body_bytes: mib, response_bytes: mib };
      const token = runnerToken(tokenKey.reveal(), id);
      return { plan, storage: await grant(plan.definition), token, limits };
    },
    renewRunner: async ({ service_uid: uid }) => {
      const found = [...runners.values()].find((one) => one.service_uid === uid);
      if (found === undefined) throw unwanted();
      return grant(found.definition);
    },
  };
}

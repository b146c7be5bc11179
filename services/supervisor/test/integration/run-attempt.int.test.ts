import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createObjectRunLogs } from '@sluice/shared/adapters';
import {
  outcomeKey,
  type AttemptGrant,
  type AttemptOutcome,
  type AttemptReport,
  type OutcomeRecord,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PodScripts } from '../../src/adapters/pod-scripts.ts';
import type { SchedulerClient } from '../../src/adapters/scheduler-client.ts';
import { runAttempt } from '../../src/pod/run-attempt.ts';
import { openTestStore, type TestStore } from './folder-store.ts';
import { ask, startPod, type TestPod } from './pod-support.ts';
import { output, readAll, testPlan } from './support.ts';

/* A pod's supervisor from its claim to the end of the main container, and what a restart of it makes of that. */

const shell = ['dash'];

let store: TestStore;
beforeAll(async () => {
  store = await openTestStore();
});
afterAll(async () => {
  await store.close();
});

interface Desk {
  readonly client: SchedulerClient;
  readonly reports: AttemptReport[];
  claims(): number;
}

/** The scheduler as the supervisor hears it. */
function deskOf(given: AttemptGrant | AppError): Desk {
  const reports: AttemptReport[] = [];
  let claims = 0;
  const refused = (): Promise<never> => Promise.reject(new AppError('conflict', 'This is no runner.'));
  return {
    reports,
    claims: () => claims,
    client: {
      claimAttempt: async () => {
        claims += 1;
        return given instanceof AppError ? Promise.reject(given) : Promise.resolve(given);
      },
      claimRunner: refused,
      storage: refused,
      report: async (report) => {
        reports.push(report);
        return Promise.resolve();
      },
      close: () => undefined,
    },
  };
}

function grantOf(script: string): AttemptGrant {
  const plan = testPlan({ script });
  return {
    plan: { ...plan, definition: { ...plan.definition, output: [output(`photos/${plan.run_id}`)] } },
    storage: {
      endpoint: 'http://localhost',
      region: 'us-east-1',
      access_key: 'key',
      secret_key: 'secret',
      verify: true,
    },
    limits: { output_bytes: 2 ** 20, log_bytes: 2 ** 20 },
  };
}

async function supervise(
  { folder }: TestPod,
  scripts: PodScripts,
  scheduler: SchedulerClient,
  signal = new AbortController().signal,
): Promise<number> {
  return runAttempt({
    scripts,
    scheduler,
    openObjects: () => store.objects,
    openLogs: (objects, maxBytes) => createObjectRunLogs({ objects, clock: systemClock, maxBytes }),
    folder,
    pod: 'pod-1',
    instance: 'test',
    print: async () => Promise.resolve(),
    signal,
    graceMs: 2000,
    clock: systemClock,
    log: silentLogger(),
  });
}

const recordKey = ({ plan }: AttemptGrant): string =>
  outcomeKey({ service: plan.definition.name, runId: plan.run_id, attempt: plan.attempt });

async function recordOf(grant: AttemptGrant): Promise<OutcomeRecord | undefined> {
  const key = recordKey(grant);
  if ((await store.objects.head(SYSTEM_BUCKET, key)) === undefined) return undefined;
  return JSON.parse(await readAll(store.objects, SYSTEM_BUCKET, key)) as OutcomeRecord;
}

const outputOf = ({ plan }: AttemptGrant, name: string): Promise<string> =>
  readAll(store.objects, 'photos', `${plan.run_id}/${name}`);

describe('an attempt of a pod', () => {
  it('that is not given to it ends its container, and a restart asks nothing more', async () => {
    const pod = startPod(shell);
    const desk = deskOf(new AppError('conflict', 'The attempt is not wanted any more.'));
    expect(await supervise(pod, await pod.open(), desk.client)).toBe(0);
    expect(await pod.ended).toBe(75);
    expect(await supervise(pod, await pod.open(), desk.client)).toBe(0);
    expect([desk.claims(), desk.reports]).toEqual([1, []]);
  });

  it('that succeeds stores its outcome, says so, and lets its container end well', async () => {
    const pod = startPod(shell);
    const grant = grantOf('echo made > "$TMP_OUTPUT_DIR/made"');
    const desk = deskOf(grant);
    expect(await supervise(pod, await pod.open(), desk.client)).toBe(0);
    expect(await pod.ended).toBe(0);
    expect(await outputOf(grant, 'made')).toBe('made\n');
    const record = await recordOf(grant);
    expect(record?.outcome).toMatchObject({ result: 'succeeded', exit_code: 0, script_started: true });
    expect(desk.reports.at(-1)).toMatchObject({ kind: 'finished', outcome: record?.outcome });
    expect(desk.reports.map((one) => (one.kind === 'progress' ? one.phase : one.kind))).toContain('running');
  });

  it('whose pod is asked to end is lost by plan, and why is left to the cluster', async () => {
    const pod = startPod(shell);
    const grant = grantOf('exec sleep 100');
    const desk = deskOf(grant);
    const stop = new AbortController();
    const done = supervise(pod, await pod.open(), desk.client, stop.signal);
    await eventually('the script to run', () => existsSync(join(pod.folder, '1', 'started')));
    stop.abort();
    expect(await done).toBe(0);
    expect((await recordOf(grant))?.outcome).toMatchObject({
      result: 'lost',
      script_started: true,
      failure: { code: 'planned_stop' },
    });
    expect(desk.reports.filter(({ kind }) => kind === 'finished')).toEqual([]);
    expect(await pod.ended).toBe(143);
  });
});

/** What a supervisor that was killed leaves: a script that runs until there is a file `go`. */
async function killedWhile(pod: TestPod, script: string): Promise<{ go(): void }> {
  const first = await pod.open();
  const run = await ask(first, pod.folder, `echo runs; until [ -e go ]; do sleep 0.02; done; ${script}`);
  await eventually('its first line', () => run.printed() === 'runs\n');
  first.close();
  return { go: () => writeFileSync(join(run.work.root, 'go'), '') };
}

describe('a supervisor that is started again', () => {
  it('goes on with the script of the one before, and does not run it again', async () => {
    const pod = startPod(shell);
    const before = await killedWhile(pod, 'echo first > "$TMP_OUTPUT_DIR/made"');
    const grant = grantOf('echo second > "$TMP_OUTPUT_DIR/made"; exit 9');
    const desk = deskOf(grant);
    const done = supervise(pod, await pod.open(), desk.client);
    await eventually('its claim', () => desk.claims() === 1);
    before.go();
    expect(await done).toBe(0);
    expect(await pod.ended).toBe(0);
    expect(await outputOf(grant, 'made')).toBe('first\n');
    expect((await recordOf(grant))?.outcome).toMatchObject({ result: 'succeeded', exit_code: 0 });
  });

  it('lets the outcome stand that the one before has stored', async () => {
    const pod = startPod(shell);
    const before = await killedWhile(pod, 'exit 0');
    const grant = grantOf('exit 0');
    const failure = { code: 'script_failed', message: 'exit code 7' };
    const outcome: AttemptOutcome = {
      result: 'failed',
      script_started: true,
      exit_code: 7,
      outputs: [],
      failure,
    };
    const stored: OutcomeRecord = { outcome, ended_at: 1 };
    await store.objects.put(SYSTEM_BUCKET, recordKey(grant), Buffer.from(JSON.stringify(stored)));
    const desk = deskOf(grant);
    before.go();
    expect(await supervise(pod, await pod.open(), desk.client)).toBe(0);
    expect(await pod.ended).toBe(7);
    expect(await recordOf(grant)).toEqual(stored);
    expect(desk.reports.filter(({ kind }) => kind === 'finished')).toMatchObject([{ outcome }]);
  });

  it('for the second time goes on; for the third time gives up, and the run may be tried again', async () => {
    const pod = startPod(shell);
    const before = await killedWhile(pod, 'echo never > "$TMP_OUTPUT_DIR/made"');
    for (let starts = 2; starts <= 3; starts += 1) {
      const killed = await pod.open();
      expect(killed.starts).toBe(starts);
      killed.close();
    }
    const grant = grantOf('true');
    const desk = deskOf(grant);
    const last = await pod.open();
    expect(last.isResumed).toBe(true);
    expect(await supervise(pod, last, desk.client)).toBe(0);
    expect(await pod.ended).toBe(1);
    before.go();
    const { outcome } = (await recordOf(grant)) ?? {};
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: true,
      retryable: true,
      outputs: [],
      failure: { code: 'supervisor_lost', message: expect.stringContaining('ended 3 times') as string },
    });
    expect(desk.reports).toMatchObject([{ kind: 'finished', outcome }]);
  });

  it('again and again before its script gives up as well, and nothing was run', async () => {
    const pod = startPod(shell);
    for (let starts = 1; starts <= 3; starts += 1) (await pod.open()).close();
    const grant = grantOf('echo never > "$TMP_OUTPUT_DIR/made"');
    const desk = deskOf(grant);
    expect(await supervise(pod, await pod.open(), desk.client)).toBe(0);
    expect(await pod.ended).toBe(1);
    expect((await recordOf(grant))?.outcome).toMatchObject({ script_started: false, retryable: true });
    await expect(outputOf(grant, 'made')).rejects.toThrow(/There is no object/);
  });
});

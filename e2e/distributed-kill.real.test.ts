import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startChaos, startPodChaos } from './support/chaos.ts';
import { kubectl, startDistributed, type Distributed } from './support/distributed.ts';
import { openLossyRelay, type LossyRelay } from './support/lossy-relay.ts';
import { keysOf, versionsOf } from './support/minio.ts';
import { openOwnServers, type OwnServers } from './support/own-servers.ts';
import { createService, runsOf, stateCounts, type RunView } from './support/service.ts';
import { waitFor } from './support/wait.ts';

/* Nothing is lost and nothing doubled, whatever dies. */

const uploads = Number(process.env['SLUICE_TEST_UPLOADS'] ?? '300');
/** Milliseconds between two kills, at most. */
const killPauseMs = Number(process.env['SLUICE_TEST_KILL_PAUSE'] ?? '2000');
/** Few: a run that is lost more often than `infra_retries` fails, as it should. */
const podDeletions = 8;
/** More where there are many: uploads of one service wait for their turn behind each other. */
const services = Array.from({ length: 5 }, (_, at) => `kill-${at}`);
/** Longest without the end of any run: several processes may be killed one after the other before they get to work. */
const stallMs = Math.max(120_000, 30 * killPauseMs);
const minioSubject = 'test.minio.says';
const script = '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n';

let servers: OwnServers;
let relay: LossyRelay;
let form: Distributed;

beforeAll(async () => {
  servers = await openOwnServers({ minioSubject });
  relay = await openLossyRelay(servers, minioSubject, { dropped: 0.2, doubled: 0.1 });
  form = await startDistributed({
    servers: servers.env,
    env: { SLUICE_RECONCILE_INTERVAL: '2', SLUICE_MAX_RUNS: '20', SLUICE_JOB_TTL: '30' },
  });
  for (const name of services) {
    await createService(form, name, script, { image: 'busybox', memory: '16Mi', cpu: '0.02' });
    // So that an output which is written twice is seen.
    await servers.minio.client.setBucketVersioning(name, { Status: 'Enabled' });
  }
}, 300_000);
afterAll(async () => {
  await form.close();
  await relay.stop();
  await servers.close();
});

interface Upload {
  readonly service: string;
  readonly name: string;
  readonly content: string;
}
const files: readonly Upload[] = Array.from({ length: uploads }, (_, at) => ({
  service: services[at % services.length] ?? '',
  name: `file-${at}.txt`,
  content: `${at}`.padEnd(200, 'x'),
}));

/** All of all services; again where an api was killed amid the answer. */
async function allRuns(): Promise<RunView[]> {
  const runs: RunView[] = [];
  for (const name of services) runs.push(...(await runsOf(form, name)));
  return runs;
}

async function ended(): Promise<number> {
  // An api that was killed amid the answer is asked again.
  const counts = await stateCounts(form).catch((): Record<string, number> => ({}));
  return (counts['succeeded'] ?? 0) + (counts['failed'] ?? 0) + (counts['cancelled'] ?? 0);
}

/** As long as there is progress, however slow the machine is. */
async function untilEnded(count: number): Promise<void> {
  let now = await ended();
  while (now < count) {
    const before = now;
    now = await waitFor(
      `a run to end after ${before} of ${count}`,
      async () => {
        const next = await ended();
        return next > before ? next : undefined;
      },
      stallMs,
      250,
    );
  }
}

async function upload({ service, name, content }: Upload): Promise<void> {
  await servers.minio.client.putObject(service, `in/${name}`, content);
}

test(
  `${uploads} files amid kills, deleted pods, lost and doubled notifications: each has one outcome and one output`,
  async () => {
    const started = performance.now();
    const chaos = startChaos(form.components, killPauseMs);
    const podChaos = startPodChaos(form.jobs, { pauseMs: 2 * killPauseMs, atMost: podDeletions });
    for (let at = 0; at < files.length; at += 10) {
      await Promise.all(files.slice(at, at + 10).map(upload));
      await delay(300);
    }
    await untilEnded(uploads * 0.8);
    await Promise.all([chaos.stop(), podChaos.stop()]);
    await untilEnded(uploads);

    const runs = await allRuns();
    const attempts = runs.reduce((sum, run) => sum + run.attempt, 0);
    console.log(
      JSON.stringify({
        uploads,
        runs: runs.length,
        attempts,
        kills: chaos.kills,
        podsDeleted: podChaos.deleted(),
        notifications: { passed: relay.passed, dropped: relay.dropped, doubled: relay.doubled },
        seconds: Math.round((performance.now() - started) / 1000),
      }),
    );
    expect(runs.filter((run) => run.state !== 'succeeded').map((run) => run.failure ?? run.state)).toEqual(
      [],
    );
    expect(runs).toHaveLength(uploads);
    expect(new Set(runs.map((run) => `${run.service} ${run.input?.key}`)).size).toBe(uploads);
    expect(
      runs.filter((run) => run.timeline.filter(({ state }) => state === 'succeeded').length !== 1),
    ).toEqual([]);
    for (const service of services) {
      const wanted = files.filter((file) => file.service === service);
      // All of 5,000 are too many for one listing; none of the names is left out by this.
      const found = new Map<string, number>();
      for (const digit of '0123456789') {
        const some = await versionsOf(servers.minio.client, service, `out/file-${digit}`);
        for (const [key, versions] of some) found.set(key, versions);
      }
      const keys = await keysOf(servers.minio.client, service, 'out/');
      expect(keys.filter((key) => key !== 'out/').toSorted()).toEqual([...found.keys()].toSorted());
      expect([...found.keys()].toSorted()).toEqual(wanted.map(({ name }) => `out/${name}`).toSorted());
      expect([...found].filter(([, versions]) => versions !== 1)).toEqual([]);
    }
    expect(podChaos.deleted()).toBeGreaterThan(0);
    expect(relay.dropped).toBeGreaterThan(0);
    expect(relay.doubled).toBeGreaterThan(0);
  },
  600_000 + uploads * 4000,
);

test('an emptied Redis without Jobs is filled again, and a full listing starts nothing', async () => {
  const before = await allRuns();
  await kubectl('delete', 'jobs', '--all', '-n', form.jobs);
  const redis = servers.openRedis();
  await redis.flushall();
  redis.disconnect();
  const restored = await waitFor(
    'the ledger to be filled again',
    async () => {
      const runs = await allRuns().catch(() => []);
      return runs.length >= before.length ? runs : undefined;
    },
    120_000,
  );
  expect(restored.map(({ id }) => id).toSorted()).toEqual(before.map(({ id }) => id).toSorted());
  const passes = await fullPasses();
  // A pass that is under way may have begun before.
  await waitFor(
    'listings of all inputs',
    async () =>
      (await fullPasses()).every((count, at) => count >= (passes[at] ?? 0) + 2) ? true : undefined,
    120_000,
  );
  const after = await allRuns();
  expect(after.filter((run) => run.state !== 'succeeded')).toEqual([]);
  expect(after).toHaveLength(before.length);
  expect((await kubectl('get', 'jobs', '-n', form.jobs, '-o', 'name')).trim()).toBe('');
}, 240_000);

/** Complete listings of all inputs, by replica. */
async function fullPasses(): Promise<number[]> {
  const replicas = form.components.filter(({ name }) => name === 'storage-events');
  return Promise.all(
    replicas.map(async ({ healthPort }) => {
      const metrics = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
      const line = /^sluice_storage_events_reconcile_passes_total\{result="complete"\} (\d+)/m;
      return Number(line.exec(metrics)?.[1] ?? 0);
    }),
  );
}

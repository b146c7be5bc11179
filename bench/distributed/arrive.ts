import type { KubeConnection } from '@sluice/scheduler/adapters';
import { kubectl, startDistributed, type Distributed } from '../../e2e/support/distributed.ts';
import { createService } from '../../e2e/support/service.ts';
import { percentile, rate } from './figures.ts';
import { watchJobs, type JobWatch } from './job-watch.ts';
import type { Part, PartDeps } from './parts.ts';
import { connectKube, objectClient, removeBucket, removeJobs, type Job } from './world.ts';

const width = 32;
const service = 'bench';

interface World {
  readonly form: Distributed;
  readonly kube: KubeConnection;
  readonly watch: JobWatch;
  readonly bucket: string;
  readonly put: (key: string) => Promise<unknown>;
  /** A Job like the scheduler's, for the bare side. */
  sample?: Job;
}

/** From an upload to its Job, beside uploading and making the Job by hand; with few and with many services. No pod runs. */
export const benchArrive: Part = async (deps) => {
  const room = { SLUICE_MAX_RUNS: '10000', SLUICE_MAX_PENDING: '10000', SLUICE_RECONCILE_INTERVAL: '600' };
  const form = await startDistributed({ replicas: 1, env: room });
  const client = objectClient();
  const bucket = `bench-${form.namespace}`;
  const kube = await connectKube(form.jobs);
  const watch = await watchJobs(kube);
  try {
    await kubectl('create', 'quota', 'none', '--hard=pods=0', '-n', form.jobs);
    await createService(form, service, 'true\n', {
      image: 'busybox',
      input: [{ storage_provider: 'minio.default', path: `${bucket}/in` }],
      output: [],
    });
    const world: World = {
      form,
      kube,
      watch,
      bucket,
      put: (key) => client.putObject(bucket, key, 'hello'),
    };
    let others = 0;
    for (const amount of deps.amounts.definitions) {
      others = await addServices(world, others, amount);
      for (let round = 0; round < deps.amounts.repeat; round += 1) {
        const label = `${round}-of-${amount}`;
        await oneByOne(deps, world, label, amount);
        await atOnce(deps, world, label, amount);
        await clear(world);
      }
    }
  } finally {
    await watch.close();
    await kube.close();
    await form.close();
    await removeBucket(client, bucket);
  }
};

async function addServices(world: World, from: number, to: number): Promise<number> {
  await rate(Math.max(0, to - from), 8, async (index) => {
    await createService(world.form, `other-${from + index}`, 'true\n', {
      image: 'busybox',
      input: [{ storage_provider: 'minio.default', path: `${world.bucket}/other-${from + index}` }],
      output: [],
    });
  });
  return Math.max(from, to);
}

async function oneByOne({ amounts, figures, say }: PartDeps, world: World, label: string, services: number) {
  const ours: number[] = [];
  const bare: number[] = [];
  // The first one is not counted: it shows what a Job looks like.
  for (let index = 0; index <= amounts.files; index += 1) {
    const key = `in/${label}-${index}`;
    const started = performance.now();
    await world.put(key);
    const { at, job } = await world.watch.seen(key);
    world.sample ??= job;
    if (index > 0) ours.push(at - started);
    const hand = `by-hand/${label}-${index}`;
    const begun = performance.now();
    await byHand(world, hand);
    const seen = await world.watch.seen(hand);
    if (index > 0) bare.push(seen.at - begun);
  }
  const [with50, without50] = [percentile(ours, 50), percentile(bare, 50)];
  say(`arrive, ${services} services: ${with50.toFixed(1)} ms, by hand ${without50.toFixed(1)} ms`);
  figures.note(`upload and Job by hand, p50, ${services} services`, 'ms', without50);
  figures.note(`upload to Job, p50, ${services} services`, 'ms', with50);
  figures.note(`upload to Job, p99, ${services} services`, 'ms', percentile(ours, 99));
  figures.note(`  more by, p50, ${services} services`, 'ms', with50 - without50);
}

async function atOnce({ amounts, figures, say }: PartDeps, world: World, label: string, services: number) {
  const { burst } = amounts;
  const begun = performance.now();
  await rate(burst, width, async (index) => byHand(world, `by-hand/burst-${label}-${index}`));
  const bare = burst / ((performance.now() - begun) / 1000);
  const started = performance.now();
  const uploads: number[] = [];
  const waits: Promise<number>[] = [];
  await rate(burst, width, async (index) => {
    const key = `in/burst-${label}-${index}`;
    const from = performance.now();
    await world.put(key);
    uploads.push(performance.now());
    waits.push(world.watch.seen(key).then(({ at }) => at - from));
  });
  const times = await Promise.all(waits);
  const ours = burst / ((performance.now() - started) / 1000);
  say(`burst, ${services} services: ${ours.toFixed(0)}/s, by hand ${bare.toFixed(0)}/s`);
  figures.note(`burst of uploads and Jobs by hand, ${services} services`, '/s', bare);
  figures.note(`burst of uploads to Jobs, ${services} services`, '/s', ours);
  figures.note(`  ratio of the two, ${services} services`, '', ours / bare, 2);
  figures.note(`  upload to Job in the burst, p50, ${services} services`, 'ms', percentile(times, 50), 0);
}

/** What Sluice does at least: an upload, and a Job of the same size. */
async function byHand({ put, sample, kube }: World, key: string): Promise<void> {
  await put(key);
  if (sample === undefined) throw new Error('no Job was seen yet');
  const annotations = { ...sample.metadata?.annotations, 'bench/key': key };
  const template = structuredClone(sample.spec?.template) ?? { spec: { containers: [] } };
  template.metadata = { annotations: template.metadata?.annotations ?? {} };
  const name = `hand-${key.replaceAll(/[^a-z0-9]+/g, '-')}`;
  const { backoffLimit, activeDeadlineSeconds, ttlSecondsAfterFinished } = sample.spec ?? {};
  await kube.create('jobs', {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, annotations },
    spec: { backoffLimit, activeDeadlineSeconds, ttlSecondsAfterFinished, template },
  });
}

/** Cancels the runs, so that the next round begins with an empty cluster. */
async function clear({ form }: World): Promise<void> {
  const answer = await form.request(`/system/logs/${service}?all=true`, { method: 'DELETE' });
  if (!answer.ok) throw new Error(`the runs cannot be removed: ${answer.status} ${await answer.text()}`);
  await removeJobs(form.jobs);
}

import { createKubeConnection, loadKubeTarget, type KubeConnection } from '@sluice/scheduler/adapters';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { Client } from 'minio';
import { kubectl, needed, type Distributed } from '../../e2e/support/distributed.ts';
import { waitFor } from '../../e2e/support/wait.ts';
import type { jobManifest } from '../../services/scheduler/src/domain/job-manifest.ts';

export type Job = ReturnType<typeof jobManifest>;
type PodSpec = NonNullable<NonNullable<Job['spec']>['template']['spec']>;
export type Container = PodSpec['containers'][number];

/** The S3 server of the environment, without Sluice. */
export function objectClient(endpoint = new URL(needed('MINIO_ENDPOINT'))): Client {
  const { hostname, port, protocol } = endpoint;
  return new Client({
    endPoint: hostname,
    ...(port === '' ? {} : { port: Number(port) }),
    useSSL: protocol === 'https:',
    accessKey: needed('MINIO_ACCESS_KEY'),
    secretKey: needed('MINIO_SECRET_KEY'),
    region: process.env['MINIO_REGION'] ?? 'us-east-1',
  });
}

export async function connectKube(namespace: string): Promise<KubeConnection> {
  const target = await loadKubeTarget(needed('KUBECONFIG'));
  return createKubeConnection({ target, namespace, clock, random: Math.random });
}

/** Removes what is in a bucket, and the bucket. */
export async function removeBucket(client: Client, bucket: string): Promise<void> {
  if (!(await client.bucketExists(bucket))) return;
  const keys: string[] = [];
  for await (const item of client.listObjects(bucket, '', true) as AsyncIterable<{ name?: string }>) {
    if (item.name !== undefined) keys.push(item.name);
  }
  for (let at = 0; at < keys.length; at += 1000)
    await client.removeObjects(bucket, keys.slice(at, at + 1000));
  await client.removeBucket(bucket);
}

/** When an object was there (monotonic), looked for every few milliseconds. */
export async function arrivalOf(client: Client, bucket: string, key: string): Promise<number> {
  return waitFor(
    `the object ${key}`,
    async () => {
      const found = await client.statObject(bucket, key).catch(() => undefined);
      return found === undefined ? undefined : performance.now();
    },
    120_000,
    5,
  );
}

/** What the scheduler asked of the API server: writes of Jobs, and reads that grow with runs. */
export async function kubeRequests(form: Distributed): Promise<{ writes: number; reads: number }> {
  const count = { writes: 0, reads: 0 };
  for (const { name, healthPort } of form.components) {
    if (name !== 'scheduler') continue;
    const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
    const line = /^sluice_kubernetes_requests_total\{verb="(\w+)",resource="(\w+)",code="\w+"\} (\d+)/gm;
    for (const [, verb = '', resource = '', value = '0'] of text.matchAll(line)) {
      if (verb === 'create') count.writes += Number(value);
      // Whether the server is well is asked by the clock; a watch is one request for all runs.
      if ((verb === 'get' || verb === 'list') && resource !== 'readyz') count.reads += Number(value);
    }
  }
  return count;
}

/** All Jobs of a namespace, in one request: kubectl makes five a second. */
export async function removeJobs(namespace: string): Promise<void> {
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  await kubectl('delete', '--raw', `${jobs}?propagationPolicy=Background`);
  await waitFor(
    'the Jobs to be gone',
    async () => {
      const answer = JSON.parse(await kubectl('get', '--raw', `${jobs}?limit=1`)) as { items: unknown[] };
      return answer.items.length === 0 ? true : undefined;
    },
    300_000,
    200,
  );
}

import type { KubeConnection } from '@sluice/scheduler/adapters';
import type { Client } from 'minio';
import { needed, startDistributed, type Distributed } from '../../e2e/support/distributed.ts';
import { createService } from '../../e2e/support/service.ts';
import { waitFor } from '../../e2e/support/wait.ts';
import { percentile } from './figures.ts';
import type { Part } from './parts.ts';
import {
  arrivalOf,
  connectKube,
  kubeRequests,
  objectClient,
  removeBucket,
  type Container,
  type Job,
} from './world.ts';

const service = 'copy';
const resources = { cpu: '0.5', memory: '64Mi' } as const;

interface World {
  readonly form: Distributed;
  readonly kube: KubeConnection;
  readonly client: Client;
  readonly bucket: string;
}

/** From an upload to its output, beside a Job of the same image that copies the file by itself; and what that asks of the API server. */
export const benchTransfer: Part = async ({ amounts, figures, say }) => {
  const form = await startDistributed({ replicas: 1 });
  const world = {
    form,
    kube: await connectKube(form.jobs),
    client: objectClient(),
    bucket: `bench-${form.namespace}`,
  };
  try {
    await createService(form, service, 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n', {
      image: 'busybox',
      ...resources,
      input: [{ storage_provider: 'minio.default', path: `${world.bucket}/in` }],
      output: [{ storage_provider: 'minio.default', path: `${world.bucket}/out` }],
    });
    for (let round = 0; round < amounts.repeat; round += 1) {
      const [ours, shown, bare, beside]: number[][] = [[], [], [], []];
      const before = await kubeRequests(form);
      // The first two bring the images to the node.
      for (let index = 0; index <= amounts.files; index += 1) {
        const name = `${round}-${index}.txt`;
        const [took, told] = await bySluice(world, name);
        const hand = await byHand(world, `alone-${name}`, false);
        const withSidecar = await byHand(world, `beside-${name}`, true);
        if (index === 0) continue;
        beside?.push(withSidecar);
        ours?.push(took);
        shown?.push(told);
        bare?.push(hand);
      }
      const after = await kubeRequests(form);
      const runs = amounts.files + 1;
      const [with50, without50] = [percentile(ours ?? [], 50), percentile(bare ?? [], 50)];
      say(`transfer: ${with50.toFixed(0)} ms, bare Job ${without50.toFixed(0)} ms`);
      figures.note('upload to output, bare Job, p50', 'ms', without50, 0);
      const besides50 = percentile(beside ?? [], 50);
      figures.note('upload to output, bare Job with an idle sidecar, p50', 'ms', besides50, 0);
      figures.note('upload to output, Sluice, p50', 'ms', with50, 0);
      figures.note('  more than the bare Job', 'ms', with50 - without50, 0);
      figures.note('  more than the one with a sidecar', 'ms', with50 - besides50, 0);
      figures.note('output to shown as succeeded, p50', 'ms', percentile(shown ?? [], 50), 0);
      figures.note('Kubernetes writes for a run', '', (after.writes - before.writes) / runs, 2);
      figures.note('Kubernetes reads for a run', '', (after.reads - before.reads) / runs, 2);
    }
  } finally {
    await world.kube.close();
    await form.close();
    await removeBucket(world.client, world.bucket);
  }
};

/** Milliseconds from the upload to the output, and from there to the run's end in the api. */
async function bySluice({ form, client, bucket }: World, name: string): Promise<[number, number]> {
  const started = performance.now();
  await client.putObject(bucket, `in/${name}`, 'hello');
  const at = await arrivalOf(client, bucket, `out/${name}`);
  await waitFor(
    'the run to be shown as succeeded',
    async () => {
      const answer = await form.request(`/system/runs?service=${service}&limit=1`);
      const { runs } = (await answer.json()) as { runs: { state: string; input?: { key: string } }[] };
      const [run] = runs;
      return run?.input?.key === `in/${name}` && run.state === 'succeeded' ? true : undefined;
    },
    60_000,
    5,
  );
  return [at - started, performance.now() - at];
}

/**
 * An upload, and a Job that fetches it and stores a copy, with nothing but its shell.
 * @param sidecar whether a second container starts before, as ours does: what the cluster takes for that is not Sluice's
 */
async function byHand(
  { kube, client, bucket, form }: World,
  name: string,
  sidecar: boolean,
): Promise<number> {
  const [from, to] = [`hand/${name}`, `hand-out/${name}`];
  const links = objectClient(podAddress());
  const [source, target] = await Promise.all([
    links.presignedGetObject(bucket, from, 3600),
    links.presignedPutObject(bucket, to, 3600),
  ]);
  const started = performance.now();
  await client.putObject(bucket, from, 'hello');
  const job = copyJob(`${name.replace('.', '-')}-${form.namespace}`, source, new URL(target));
  const { spec } = job.spec?.template ?? {};
  if (sidecar && spec) spec.initContainers = [idleSidecar];
  await kube.create('jobs', job);
  return (await arrivalOf(client, bucket, to)) - started;
}

const idleSidecar: Container = {
  name: 'beside',
  image: 'busybox',
  restartPolicy: 'Always',
  command: ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1 & wait $!; done'],
};

function podAddress(): URL {
  const url = new URL(needed('MINIO_ENDPOINT'));
  if (/^(127\.|localhost$)/.test(url.hostname)) url.hostname = needed('TESTBED_GATEWAY');
  return url;
}

function copyJob(name: string, source: string, target: URL): Job {
  const head = [
    `PUT ${target.pathname}${target.search} HTTP/1.1`,
    `Host: ${target.host}`,
    'Content-Length: %s',
    'Connection: close',
  ].join('\\r\\n');
  const script = [
    'wget -q -O /tmp/file "$FROM"',
    'size=$(wc -c < /tmp/file)',
    // The connection stays open until the answer: a client that says nothing more is taken for one that has left.
    'mkfifo /tmp/answered',
    `{ printf "$HEAD\\r\\n\\r\\n" "$size"; cat /tmp/file; read _ < /tmp/answered; } |
      nc ${target.hostname} ${target.port} | { read -r _; echo > /tmp/answered; cat > /tmp/rest; }`,
  ].join(' && ');
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: {
      backoffLimit: 0,
      ttlSecondsAfterFinished: 60,
      template: {
        spec: {
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          containers: [
            {
              name: 'copy',
              image: 'busybox',
              command: ['/bin/sh', '-c', script],
              env: [
                { name: 'FROM', value: source },
                // The query's percent signs are not for printf.
                { name: 'HEAD', value: head.replaceAll('%', '%%').replace('%%s', '%s') },
              ],
              resources: { requests: resources, limits: resources },
            },
          ],
        },
      },
    },
  };
}

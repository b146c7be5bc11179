import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { createRegistryPushProbe } from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKubeRegistryKeeper, type KubeAccess } from '../../src/adapters/index.ts';
import { beginUpload, pull, pushImage, sha256 } from './push-images.ts';

const run = promisify(execFile);
const id = randomBytes(5).toString('hex');
const namespace = `sluice-test-${id}`;
const never = new AbortController().signal;
const limit = AbortSignal.timeout(110_000);

let access: KubeAccess;
let host: string;

async function kubectl(args: readonly string[], input?: object): Promise<string> {
  const running = run('kubectl', args);
  running.child.stdin?.end(input === undefined ? '' : JSON.stringify(input));
  return (await running).stdout.trim();
}

const labels = { app: 'registry' };
const meta = (name: string) => ({ name, namespace });

/** The registry, and the rights that the documentation names. */
const objects = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('collector') },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: meta('collector'),
    rules: [
      {
        apiGroups: ['apps'],
        resources: ['statefulsets'],
        resourceNames: ['registry'],
        verbs: ['get', 'patch'],
      },
      { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
      { apiGroups: [''], resources: ['pods/exec'], resourceNames: ['registry-0'], verbs: ['create', 'get'] },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: meta('collector'),
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'collector' },
    subjects: [{ kind: 'ServiceAccount', name: 'collector', namespace }],
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta('registry'),
    spec: { selector: labels, ports: [{ port: 5000 }] },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: meta('registry'),
    spec: {
      serviceName: 'registry',
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'registry',
              image: 'registry:3',
              env: [
                { name: 'REGISTRY_STORAGE_DELETE_ENABLED', value: 'true' },
                { name: 'OTEL_TRACES_EXPORTER', value: 'none' },
              ],
              readinessProbe: { httpGet: { path: '/v2/', port: 5000 }, periodSeconds: 1 },
              volumeMounts: [{ name: 'storage', mountPath: '/var/lib/registry' }],
            },
          ],
          volumes: [
            { name: 'storage', hostPath: { path: `/tmp/sluice-registry-${id}`, type: 'DirectoryOrCreate' } },
          ],
        },
      },
    },
  },
];

beforeAll(async () => {
  if (!process.env['KUBECONFIG']) {
    throw new Error('set KUBECONFIG to the configuration of a cluster of this machine that has registry:3');
  }
  await kubectl(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'List', items: objects });
  await kubectl(['-n', namespace, 'rollout', 'status', 'statefulset/registry', '--timeout=100s']);
  const address = await kubectl([
    '-n',
    namespace,
    'get',
    'service',
    'registry',
    '-o',
    'jsonpath={.spec.clusterIP}',
  ]);
  host = `${address}:5000`;
  const config = JSON.parse(
    await kubectl(['config', 'view', '--raw', '--flatten', '--minify', '-o', 'json']),
  ) as { clusters: { cluster: { server: string; 'certificate-authority-data': string } }[] };
  const [first] = config.clusters;
  const token = await kubectl(['-n', namespace, 'create', 'token', 'collector']);
  access = {
    server: new URL(first?.cluster.server ?? ''),
    tls: { ca: Buffer.from(first?.cluster['certificate-authority-data'] ?? '', 'base64') },
    headers: () => Promise.resolve({ authorization: `Bearer ${token}` }),
  };
});

afterAll(async () => {
  await kubectl(['delete', 'namespace', namespace, '--wait=false']);
  await run('rm', ['-rf', `/tmp/sluice-registry-${id}`]);
});

const keeperOf = (change: { readonly configPath?: string; readonly name?: string } = {}) =>
  createKubeRegistryKeeper({
    access,
    workload: { namespace, kind: 'statefulset', name: change.name ?? 'registry' },
    configPath: change.configPath ?? '/etc/distribution/config.yml',
    storagePath: '/var/lib/registry',
    clock: systemClock,
  });

/** The pod is ready, but the nodes may not know its address yet. */
async function takesPushes(wanted: boolean): Promise<void> {
  await eventually(
    `takes pushes: ${wanted}`,
    async () => {
      // A connection of its own each time: while the service has no pod, whoever else answers there may keep one open.
      const probe = createRegistryPushProbe({
        repository: `${host}/probe`,
        logins: () => Promise.resolve(undefined),
        clock: systemClock,
      });
      const took = await probe.takesPushes().catch(() => undefined);
      await probe.close();
      if (took === !wanted) throw new Error(`it takes pushes: ${took}`);
      return took === wanted;
    },
    60_000,
  );
}

test('a StatefulSet is made read-only, collected and made writable, with the rights that are documented and no more', async () => {
  const keeper = keeperOf();
  const createdAt = systemClock.now();
  await takesPushes(true);
  await pushImage(host, 'anna', ['kept'], { createdAt });
  const gone = await pushImage(host, 'anna', ['gone'], { createdAt });
  const removed = await fetch(`http://${host}/v2/anna/manifests/gone`, { method: 'DELETE' });
  expect(removed.status).toBe(202);

  await keeper.readOnly(limit);
  await takesPushes(false);
  expect((await beginUpload(host, 'anna')).status).toBe(405);
  await pull(host, 'anna', 'kept');
  const collected = await keeper.collect(limit);
  expect(collected.blobs).toBeGreaterThanOrEqual(3);
  expect(collected.manifests).toBe(1);
  expect(collected.freedBytes === undefined || collected.freedBytes >= 64 * 1024).toBe(true);
  await keeper.writable(limit);
  await takesPushes(true);
  const blob = `http://${host}/v2/anna/blobs/${sha256(gone.layer)}`;
  expect((await fetch(blob, { method: 'HEAD' })).status).toBe(404);
  await pushImage(host, 'anna', ['again'], { createdAt, layer: gone.layer });
  await pull(host, 'anna', 'again');
  await pull(host, 'anna', 'kept');
  await keeper.close();
});

test('what Kubernetes or the program says is told', async () => {
  const other = keeperOf({ name: 'other' });
  await expect(other.readOnly(never)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('statefulsets.apps "other" is forbidden') as string,
  });
  const astray = keeperOf({ configPath: '/not/there.yml' });
  await expect(astray.collect(never)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(/^The program in the registry's pod failed: .*exit code 1/) as string,
  });
  await other.close();
  await astray.close();
});

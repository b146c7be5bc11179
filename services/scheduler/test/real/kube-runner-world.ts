import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CoreV1Api, KubeConfig, type V1Pod } from '@kubernetes/client-node';
import { Secret } from '@sluice/shared/config';
import { isPodToken, type RunnerPlan } from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { build } from 'esbuild';
import {
  createKubeConnection,
  createKubeRunners,
  loadKubeTarget,
  type KubeRunnersDeps,
} from '../../src/adapters/index.ts';
import type { RunnerHost } from '../../src/index.ts';

export interface KubeRunnerWorld {
  readonly key: string;
  readonly namespace: string;
  readonly core: CoreV1Api;
  /** A host as one replica has it. */
  host(more?: Partial<KubeRunnersDeps>): RunnerHost;
  pods(): Promise<readonly V1Pod[]>;
  /** Removes what tests have left on purpose. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

const spawner = join(import.meta.dirname, '../../../supervisor/src/adapters/script-spawner.mjs');

/** The stand-in as one file. */
async function bundle(): Promise<string> {
  const built = await build({
    entryPoints: [join(import.meta.dirname, 'kube-stand-in.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    write: false,
    logLevel: 'silent',
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  return built.outputFiles[0]?.text ?? '';
}

/** A namespace of its own, and what a scheduler answers supervisors: the grant of a runner to whoever has the token of its pod. */
export async function kubeRunnerWorld(): Promise<KubeRunnerWorld> {
  const { KUBECONFIG, TESTBED_GATEWAY } = process.env;
  if (!KUBECONFIG || !TESTBED_GATEWAY) {
    throw new Error(
      'this test needs a cluster whose pods reach this machine and are reached from it, with busybox and node:24-bookworm-slim: set KUBECONFIG, and TESTBED_GATEWAY to the address of this machine as pods see it',
    );
  }
  const config = new KubeConfig();
  config.loadFromFile(KUBECONFIG);
  const core = config.makeApiClient(CoreV1Api);
  const namespace = `sluice-test-${randomBytes(5).toString('hex')}`;
  const labels = { 'pod-security.kubernetes.io/enforce': 'baseline' };
  await core.createNamespace({ body: { metadata: { name: namespace, labels } } });
  const target = await loadKubeTarget(KUBECONFIG);
  const connection = await createKubeConnection({ target, namespace, clock, random: Math.random });
  const key = randomBytes(32).toString('base64url');
  const plans = new Map<string, RunnerPlan>();
  const scheduler = await openScheduler(plans, key);
  const instance = randomBytes(4).toString('hex');
  const schedulerUrl = `http://${TESTBED_GATEWAY}:${scheduler.port}`;
  const start = `const get = async (name) => require('node:fs').writeFileSync('/tmp/' + name, Buffer.from(await (await fetch('${schedulerUrl}/' + name)).arrayBuffer()));
Promise.all([get('stand-in.mjs'), get('script-spawner.mjs')]).then(() => import('/tmp/stand-in.mjs')).catch((error) => { console.error(error); process.exit(1); });`;
  return {
    key,
    namespace,
    core,
    pods: async () => (await core.listNamespacedPod({ namespace })).items,
    host: (more = {}) => {
      const made = createKubeRunners({
        connection: {
          ...connection,
          create: (resource, object) =>
            connection.create(resource, withCommand(object, ['node', '-e', start])),
        },
        settings: { instance, supervisorImage: 'node:24-bookworm-slim', schedulerUrl },
        limit: 8,
        key: new Secret(key),
        clock,
        random: Math.random,
        log: silentLogger(),
        timing: { healthMs: 200 },
        ...more,
      });
      return {
        ...made,
        start: (plan, reservation) => {
          plans.set(plan.runner_id, plan);
          return made.start(plan, reservation);
        },
      };
    },
    clear: async () => void (await core.deleteCollectionNamespacedPod({ namespace, gracePeriodSeconds: 0 })),
    close: async () => {
      await core.deleteNamespace({ name: namespace, gracePeriodSeconds: 0 });
      await connection.close();
      await scheduler.close();
    },
  };
}

function withCommand(object: object, command: string[]): object {
  const pod = structuredClone(object) as V1Pod;
  const sidecar = pod.spec?.initContainers?.[0];
  if (sidecar !== undefined) sidecar.command = command;
  return pod;
}

async function openScheduler(
  plans: ReadonlyMap<string, RunnerPlan>,
  key: string,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const files = new Map([
    ['/stand-in.mjs', await bundle()],
    ['/script-spawner.mjs', await readFile(spawner, 'utf8')],
  ]);
  const server = createServer((request, response) => {
    const file = files.get(request.url ?? '');
    const [, id = ''] = /^\/v1\/runners\/([^/]+)\/claim$/.exec(request.url ?? '') ?? [];
    const plan = plans.get(id);
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    request.resume();
    if (file !== undefined) response.end(file);
    else if (plan === undefined) response.writeHead(409).end('no such runner');
    else {
      const { service_uid: serviceUid, service_version: serviceVersion } = plan;
      const subject = { kind: 'runner', runnerId: id, serviceUid, serviceVersion } as const;
      const allowed = isPodToken(key, subject, token, clock.now());
      if (allowed) response.end(JSON.stringify({ plan, key }));
      else response.writeHead(401).end('wrong token');
    }
  });
  const listening = Promise.withResolvers<void>();
  server.listen(0, '0.0.0.0', listening.resolve);
  await listening.promise;
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

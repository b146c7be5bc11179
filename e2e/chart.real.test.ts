import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBalancer } from './support/balancer.ts';
import { kubectl, needed } from './support/distributed.ts';
import { blocksOf } from './support/doc-blocks.ts';
import { sluiceImage, supervisorImage } from './support/images.ts';
import { freePort } from './support/minio.ts';
import { cleanEnv, cliBin, collect, root, run, type Finished } from './support/server.ts';
import { applyUpper, firstImage, firstSteps, healthy } from './support/smoke.ts';
import { waitFor } from './support/wait.ts';

/* The chart with images of this checkout and the servers that it brings along: the commands of docs/deploy.md, as they are written there. */

const page = 'docs/deploy.md';
const namespace = `t${randomBytes(5).toString('hex')}`;
const jobs = `${namespace}-runs`;
let folder: string;
let env: Record<string, string>;
let quickstart: ChildProcess;
const undoing: (() => Promise<unknown>)[] = [];
let printed: { stdout(): string; stderr(): string };

const value = (name: string): string => new RegExp(`${name}=(\\S+)`).exec(printed.stdout())?.[1] ?? '';
const sluice = (...args: readonly string[]): Promise<Finished> => {
  const names = ['SLUICE_URL', 'SLUICE_USERNAME', 'SLUICE_PASSWORD'];
  return run(process.execPath, [cliBin, ...args], {
    env: Object.fromEntries(names.map((name) => [name, value(name)])),
  });
};
const shell = (command: string): Promise<Finished> =>
  run('bash', ['-euo', 'pipefail', '-c', command], { cwd: folder, env });

/** The block of the page in which a text occurs. */
function commands(text: string): string {
  const found = blocksOf(page).find(
    (block) => block.runBy?.endsWith('chart.real.test.ts') && block.text.includes(text),
  );
  if (found === undefined) throw new Error(`${page} has no commands with "${text}" for this test`);
  return found.text;
}

/** The two images that the page tells how to build. */
async function pageImages(): Promise<{ sluice: string; supervisor: string }> {
  const files = [...commands('docker build').matchAll(/-f (\S+)/g)].map(([, file]) => file);
  expect(files).toEqual(['deploy/docker/sluice.Dockerfile', 'deploy/docker/supervisor.Dockerfile']);
  return { sluice: await sluiceImage(), supervisor: await supervisorImage() };
}

async function values(images: { sluice: string; supervisor: string }): Promise<string> {
  const image = (name: string): object => {
    const colon = name.lastIndexOf(':');
    return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
  };
  const file = join(folder, 'my-values.yaml');
  // The node of a test bed is small, and has other tests to run.
  const modest = { resources: { requests: { cpu: '10m', memory: '64Mi' } } };
  const all = {
    image: image(images.sluice),
    supervisorImage: image(images.supervisor),
    jobs: { namespace: jobs },
    nats: { streamBytes: 16_777_216, ...modest },
    redis: modest,
    minio: modest,
    api: modest,
    scheduler: modest,
    storageEvents: modest,
  };
  await writeFile(file, JSON.stringify(all));
  return file;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'));
  undoing.push(() => rm(folder, { recursive: true, force: true }));
  await symlink(join(root, 'deploy'), join(folder, 'deploy'));
  const images = await pageImages();
  env = {
    KUBECONFIG: needed('KUBECONFIG'),
    SLUICE_IMAGE: images.sluice,
    SLUICE_SUPERVISOR_IMAGE: images.supervisor,
    SLUICE_NAMESPACE: namespace,
    SLUICE_PORT: String(await freePort()),
    SLUICE_VALUES: await values(images),
  };
  undoing.push(() => run(join(root, 'deploy/quickstart.sh'), ['down'], { env }));
  quickstart = spawn('bash', ['-c', `exec ${commands('quickstart')}`], {
    cwd: folder,
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  undoing.push(async () => quickstart.kill());
  printed = collect(quickstart);
  await waitFor(
    'the installation',
    () => {
      if (quickstart.exitCode !== null) throw new Error(printed.stderr());
      return /Forwarding from/.test(printed.stdout()) ? true : undefined;
    },
    400_000,
  ).catch(async (error: unknown) => {
    const pods = await kubectl('-n', namespace, 'get', 'pods', '-o', 'wide');
    throw new Error(`${printed.stdout()}${printed.stderr()}\n${pods}`, { cause: error });
  });
}, 600_000);
afterAll(async () => {
  for (const undo of undoing.toReversed()) await undo();
}, 240_000);

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(sluice, 'upper');
});

test('components obey the strictest Pod Security level and cannot write where they are', async () => {
  const level = await kubectl('get', 'namespace', namespace, '-o', 'jsonpath={.metadata.labels}');
  expect(JSON.parse(level)).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  const { items } = JSON.parse(await kubectl('-n', namespace, 'get', 'pods', '-o', 'json')) as {
    items: { spec: { containers: { securityContext: object }[] } }[];
  };
  expect(items).toHaveLength(9);
  for (const { securityContext } of items.flatMap(({ spec }) => spec.containers)) {
    expect(securityContext).toMatchObject({ readOnlyRootFilesystem: true });
  }
  const nats = await kubectl('-n', namespace, 'get', 'configmap', 'sluice-nats', '-o', 'yaml');
  expect(nats).toContain('sync_interval: always');
});

test('the scheduler may do what it does, and nobody may do more', async () => {
  const may = async (account: string, ...what: readonly string[]): Promise<string> => {
    const as = `--as=system:serviceaccount:${account}`;
    const done = await run('kubectl', ['auth', 'can-i', ...what, as], { env });
    return done.stdout.trim();
  };
  const scheduler = `${namespace}:sluice-scheduler`;
  for (const resource of ['jobs.batch', 'pods']) {
    for (const verb of ['create', 'delete', 'get', 'list', 'watch']) {
      expect(await may(scheduler, verb, resource, '-n', jobs), `${verb} ${resource}`).toBe('yes');
    }
  }
  expect(await may(scheduler, 'list', 'events', '-n', jobs)).toBe('yes');
  expect(await may(scheduler, 'list', 'nodes')).toBe('yes');
  const forbidden = [
    ['get', 'secrets', '-n', jobs],
    ['get', 'secrets', '-n', namespace],
    ['create', 'pods', '--subresource=exec', '-n', jobs],
    ['update', 'jobs.batch', '-n', jobs],
    ['create', 'pods', '-n', namespace],
    ['delete', 'nodes'],
    ['list', 'pods', '-A'],
  ];
  for (const what of forbidden) expect(await may(scheduler, ...what), what.join(' ')).toBe('no');
  for (const account of [
    `${namespace}:sluice-api`,
    `${namespace}:sluice-storage-events`,
    `${jobs}:sluice-run`,
  ]) {
    expect(await may(account, 'get', 'pods', '-n', jobs), account).toBe('no');
    expect(await may(account, 'create', 'jobs.batch', '-n', jobs), account).toBe('no');
  }
});

test('a value that is misspelt or cannot be is refused before anything is installed', async () => {
  for (const [wrong, said] of [
    ['api.replica=3', "'replica'"],
    ['nats.replicas=2', '/nats/replicas'],
    ['nats.persistence.size=lots', '/nats/persistence/size'],
    ['nats.bundled=false', 'nats.url is needed'],
    ['builder.enabled=true', 'buildkit.host is needed'],
    ['builder.enabled=true,buildkit.host=tcp://buildkitd:1234', 'registry.host is needed'],
    ['buildkit.host=buildkitd:1234', '/buildkit/host'],
    ['registry.host=http://registry', '/registry/host'],
    ['registry.workload=registry', '/registry/workload'],
    [`jobs.namespace=${namespace}`, 'jobs.namespace must be another one'],
  ] as const) {
    const refused = await run(
      'helm',
      ['upgrade', 'sluice', 'deploy/helm/sluice', '-n', namespace, '--dry-run=client', '--set', wrong],
      { env },
    );
    expect(refused.code, wrong).not.toBe(0);
    expect(refused.stderr).toContain(said);
  }
});

test('an upgrade keeps what was made: secrets, and pods that need no change; its own test and the doctor find nothing', async () => {
  const look = async (): Promise<string> => {
    const secrets = await kubectl(
      '-n',
      namespace,
      'get',
      'secrets',
      'sluice',
      'sluice-servers',
      '-o',
      'jsonpath={.items[*].data}',
    );
    const pods = await kubectl('-n', namespace, 'get', 'pods', '-o', 'name');
    return `${secrets}\n${pods}`;
  };
  const before = await look();
  const block = commands('helm upgrade').replaceAll('--namespace sluice', `--namespace ${namespace}`);
  const done = await shell(block);
  expect(done.code, done.stdout + done.stderr).toBe(0);
  expect(await look()).toBe(before);
  await healthy(sluice);
});

test('replacing every pod of the components under load refuses no request and loses no file', async () => {
  const service = `rolling-${namespace}`;
  await applyUpper(sluice, service);
  await kubectl('-n', namespace, 'delete', 'pod', 'load', '--ignore-not-found');
  const script = await readFile(join(root, 'e2e/support/restart-load.mjs'), 'utf8');
  const applied = await run('kubectl', ['-n', namespace, 'create', '-f', '-'], {
    env,
    input: JSON.stringify(loadPod(script, service)),
  });
  expect(applied.code, applied.stderr).toBe(0);
  const log = (): Promise<string> => kubectl('-n', namespace, 'logs', 'load').catch(() => '');
  await waitFor(
    'the load to begin',
    async () => ((await log()).includes('started') ? true : undefined),
    60_000,
  );
  const components = ['api', 'scheduler', 'storage-events'].map((name) => `deployment/sluice-${name}`);
  await kubectl('-n', namespace, 'rollout', 'restart', ...components);
  for (const one of components) await kubectl('-n', namespace, 'rollout', 'status', one, '--timeout', '120s');
  const seen = await waitFor('the load to end', async () => /\{.*\}/.exec(await log())?.[0], 240_000);
  expect(JSON.parse(seen)).toEqual({
    refused: [],
    states: Array.from({ length: 12 }, () => 'succeeded'),
    outputs: 12,
  });
}, 500_000);

test('with the builder, a requirements file of an account becomes an image that the cluster runs', async () => {
  const login = `anna${namespace}`;
  const uuid = crypto.randomUUID();
  const key = randomBytes(32).toString('hex');
  const accounts = join(folder, 'accounts.yaml');
  await writeFile(accounts, JSON.stringify([{ login, uuid, key }]));
  await kubectl(
    '-n',
    namespace,
    'create',
    'secret',
    'generic',
    'sluice-accounts',
    `--from-file=accounts.yaml=${accounts}`,
  );
  // Pods reach the daemon and the registry of the test bed by the address of this machine.
  const gateway = needed('TESTBED_GATEWAY');
  const registry = `${gateway}:${needed('REGISTRY_HOST').split(':')[1] ?? ''}`;
  const daemon = await openBalancer([Number(new URL(needed('BUILDKIT_HOST')).port)], gateway);
  undoing.push(() => daemon.close());
  const builder = {
    builder: {
      enabled: true,
      accountsSecret: 'sluice-accounts',
      resources: { requests: { cpu: '10m', memory: '64Mi' } },
      egressPorts: [daemon.port, 5000],
    },
    buildkit: { host: `tcp://${gateway}:${daemon.port}` },
    registry: {
      host: registry,
      pullHost: needed('REGISTRY_HOST'),
      insecure: registry,
      mirrors: `docker.io=${registry}`,
    },
  };
  await writeFile(join(folder, 'builder-values.yaml'), JSON.stringify(builder));
  const block = commands('builder-values.yaml');
  const done = await shell(block.replaceAll('--namespace sluice', `--namespace ${namespace}`));
  expect(done.code, done.stdout + done.stderr).toBe(0);
  const image = await firstImage(sluice, { url: value('SLUICE_URL'), login, token: `${uuid}:${key}` });
  expect(image).toBe(`${needed('REGISTRY_HOST')}/${login}:six`);
  await healthy(sluice);
}, 400_000);

test('a builder that collects a registry in the cluster may do that, and nothing more', async () => {
  const set = 'builder.enabled=true,buildkit.host=tcp://b:1234,registry.host=r:5000';
  const rulesOf = async (workload: string): Promise<string> => {
    const args = ['template', 'sluice', 'deploy/helm/sluice', '-n', namespace, '--set'];
    const done = await run('helm', [...args, `${set},registry.workload=${workload}`], { env });
    expect(done.code, done.stderr).toBe(0);
    const role = done.stdout
      .split('\n---\n')
      .find((one) => /^kind: Role$/m.test(one) && one.includes('pods/exec'));
    const applied = await run('kubectl', ['create', '--dry-run=client', '-o', 'json', '-f', '-'], {
      env,
      input: role ?? '',
    });
    expect(applied.code, applied.stderr).toBe(0);
    return applied.stdout;
  };
  const exec = (names: object) => ({
    metadata: expect.objectContaining({ namespace: 'images' }) as unknown,
    rules: [
      {
        apiGroups: ['apps'],
        resources: expect.any(Array) as unknown,
        resourceNames: ['hub'],
        verbs: ['get', 'patch'],
      },
      { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
      { apiGroups: [''], resources: ['pods/exec'], ...names, verbs: ['create', 'get'] },
    ],
  });
  expect(JSON.parse(await rulesOf('images/statefulset/hub'))).toMatchObject(
    exec({ resourceNames: ['hub-0'] }),
  );
  expect(JSON.parse(await rulesOf('images/deployment/hub'))).toMatchObject(exec({}));
});

test('what is removed leaves nothing behind', async () => {
  if (quickstart.exitCode === null) {
    const ended = once(quickstart, 'exit');
    quickstart.kill('SIGINT');
    await ended;
  }
  const down = await shell('deploy/quickstart.sh down');
  expect(down.code, down.stderr).toBe(0);
  const kinds = 'namespaces,clusterroles,clusterrolebindings,persistentvolumes';
  await waitFor(
    'all of it to go',
    async () => {
      const names = (await kubectl('get', kinds, '-o', 'name')).split('\n');
      return names.some((one) => one.includes(namespace)) ? undefined : 'nothing';
    },
    90_000,
  );
}, 240_000);

/** Speaks to the API by its service, so that it meets whichever replica there is. */
function loadPod(script: string, service: string): object {
  const securityContext = {
    runAsNonRoot: true,
    runAsUser: 10_001,
    seccompProfile: { type: 'RuntimeDefault' },
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'load' },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      securityContext,
      containers: [
        {
          name: 'load',
          image: env['SLUICE_IMAGE'],
          command: ['node', '--input-type=module', '-e', script],
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          env: [
            { name: 'SLUICE_URL', value: `http://sluice-api.${namespace}.svc:8080` },
            { name: 'SLUICE_PASSWORD', value: value('SLUICE_PASSWORD') },
            { name: 'SERVICE', value: service },
            { name: 'FILES', value: '12' },
          ],
        },
      ],
    },
  };
}

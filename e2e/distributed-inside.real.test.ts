import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubectl, needed, startDistributed, type Distributed } from './support/distributed.ts';
import {
  expectNone,
  forgedToken,
  goInside,
  isRefused,
  podOf,
  statusesIn,
  type Inside,
} from './support/inside.ts';
import { askRoutes, lookAround, oddOutputs, tampering } from './support/inside-scripts.ts';
import { freePort } from './support/minio.ts';
import { sendRaw } from './support/raw-http.ts';
import { runsOf } from './support/service.ts';
import {
  natsTexts,
  redisKeys,
  redisTexts,
  s3Client,
  withNats,
  withRedis,
  type S3Keys,
} from './support/stored.ts';
import { waitFor } from './support/wait.ts';

/* The distributed form from where attackers stand: in a user's container, beside it, and at each of its doors. */

const canary = `canary-${randomBytes(12).toString('hex')}`;
const webhookToken = randomBytes(16).toString('hex');
let form: Distributed;
let inside: Inside;
let webhook: string;
/** What no log and no store may have in clear, and no container that it is not meant for. */
let secrets: Readonly<Record<string, string>>;
const name = (service: string): string => `${service}-${form.namespace}`;

beforeAll(async () => {
  const port = await freePort();
  webhook = `http://127.0.0.1:${port}/notify`;
  form = await startDistributed({
    replicas: 1,
    env: {
      SLUICE_WEBHOOK_PORT: String(port),
      SLUICE_WEBHOOK_TOKEN: webhookToken,
      SLUICE_POD_DISK: '134217728',
    },
  });
  inside = goInside(form);
  const [, , , token] = await Promise.all([
    inside.apply(name('job'), { sluice: { timeout: 30 } }),
    inside.apply(name('warm'), { sluice: { timeout: 60 } }),
    inside.apply(name('python'), { image: 'python:3.11-slim' }),
    inside.apply(name('other'), {
      environment: { secrets: { CANARY: canary } },
      labels: { 'sluice.internal/kind': 'runner', 'sluice.internal/instance': 'x', app: 'mine' },
      annotations: { 'sluice.internal/run': '{}' },
      sluice: { run_as: '1000' },
    }),
  ]);
  secrets = {
    ...form.secrets,
    MINIO_SECRET_KEY: needed('MINIO_SECRET_KEY'),
    SLUICE_WEBHOOK_TOKEN: webhookToken,
    'token of the service other': token,
    'secret of the service other': canary,
  };
}, 300_000);
afterAll(async () => {
  await form.close();
}, 60_000);

/** Quoted: a body of letters alone might be base64. */
async function expectUnharmed(): Promise<void> {
  const id = await inside.start(name('job'), 'echo "unharmed"');
  expect(await inside.ended(id), await inside.log(id)).toMatchObject({ state: 'succeeded' });
}

describe('in a container of a user', () => {
  test.for(['job', 'python'])('%s: nothing is found but what is its own', async (service) => {
    const id = await inside.start(name(service), lookAround);
    expect(await inside.ended(id)).toMatchObject({ state: 'succeeded' });
    const found = await inside.log(id);
    expectNone('a container', found, secrets);
    expect(found).not.toMatch(/SLUICE_(POD_TOKEN|SCHEDULER_URL|SECRETS_KEY|RUNNER_KEY)/);
    expect(found).not.toMatch(/(NATS|REDIS|MINIO|AWS)_[A-Z_]*=|serviceaccount|session_token|secret_key/i);
    expect(found).not.toMatch(/supervisor\.cjs/);
    expect(found).toMatch(/NoNewPrivs:\s+1[^]*Seccomp:\s+2/);
  });

  test('a runner is spoken to by api and scheduler only, from its own container and from another', async () => {
    const first = await inside.call(name('warm'), 'echo warm >"$TMP_OUTPUT_DIR/a"');
    expect(first).toMatchObject({ status: 200, text: 'warm\n' });
    const { pod, env } = await podOf(form, name('warm'));
    const runner = env.get('SLUICE_RUNNER_ID') ?? '';
    const paths = ['invoke', 'logs', 'health', 'drain'].flatMap((one) => [`/${runner}/${one}`, `/x/${one}`]);
    const urls = (host: string): string[] =>
      [...paths, '/health', '/drain', '/', '/metrics'].map((path) => `http://${host}:8081${path}`);
    const own = [...urls('127.0.0.1'), ...urls(pod.status.podIP ?? '')];
    const { status, text } = await inside.call(
      name('warm'),
      `{ env; ${askRoutes(own)}; } >"$TMP_OUTPUT_DIR/asked"`,
    );
    expect(status, text).toBe(200);
    expectNone('a runner', text, { ...secrets, token: env.get('SLUICE_POD_TOKEN') ?? '' });
    expect(statusesIn(text)).toHaveLength(2 * own.length);
    expect(statusesIn(text).filter((one) => !isRefused(one))).toEqual([]);
    const foreign = await inside.start(name('job'), askRoutes(urls(pod.status.podIP ?? '')));
    expect(await inside.ended(foreign)).toMatchObject({ state: 'succeeded' });
    const asked = statusesIn(await inside.log(foreign));
    expect(asked).toHaveLength(own.length);
    expect(asked.filter((one) => !isRefused(one))).toEqual([]);
  });

  test('nothing of the supervisor is uploaded, and nothing that is no file', async () => {
    const id = await inside.start(name('python'), oddOutputs);
    expect(await inside.ended(id), await inside.log(id)).toMatchObject({ state: 'succeeded' });
    const keys = (await inside.keys(name('python'))).filter((key) => key.startsWith('out/'));
    const names = keys.map((key) => key.slice('out/'.length));
    for (const made of ['good.txt', '..hidden', '..%2f..%2fetc', 'new\nline', 'ünï ☃', 'n'.repeat(255)])
      expect(names).toContain(made);
    for (const odd of ['environ', 'environ1', 'passwd', 'up', 'pipe', 'folder', 'fifo', 'device', 'sock'])
      expect(names.filter((one) => one === odd || one.startsWith(`${odd}/`))).toEqual([]);
    for (const key of keys) {
      const text = await inside.text(name('python'), key);
      expectNone(key, text, secrets);
      expect(text).not.toMatch(/SLUICE_POD_TOKEN|root:/);
    }
  });

  test('what would fill a store or a disk ends its run, and no other', async () => {
    const start = (script: string): Promise<string> => inside.start(name('python'), script);
    const [sparse, layer, folder, many, loud] = await Promise.all([
      start('truncate -s 1T "$TMP_OUTPUT_DIR/huge"'),
      start('dd if=/dev/zero of=/tmp/fill bs=1M count=400; sleep 300'),
      start('dd if=/dev/zero of=/sluice/fill bs=1M count=400; sleep 300'),
      start('cd "$TMP_OUTPUT_DIR"; mkdir many; cd many; for i in $(seq 2000); do : >$i; done'),
      start("head -c 200000000 /dev/zero | tr '\\0' x"),
    ]);
    expect(await inside.ended(sparse)).toMatchObject({ failure: { code: 'output_too_large' } });
    for (const id of [layer, folder]) {
      expect(await inside.ended(id)).toMatchObject({ state: 'failed', failure: { code: 'out_of_disk' } });
    }
    expect(await inside.ended(loud)).toMatchObject({ state: 'succeeded' });
    expect((await inside.log(loud)).length).toBeLessThan(2_000_000);
    expect(await inside.ended(many)).toMatchObject({ state: 'succeeded', outputs_omitted: 1900 });
  });

  test('whoever tampers with its container ends its own run', async () => {
    const ids = await Promise.all(
      Object.entries(tampering).map(async ([what, script]) => ({
        what,
        id: await inside.start(name('job'), script),
      })),
    );
    for (const { what, id } of ids) {
      const run = await inside.ended(id);
      expect(['failed', 'succeeded'], `${what}: ${JSON.stringify(run)}`).toContain(run.state);
      expectNone(what, JSON.stringify(run), secrets);
    }
    await expectUnharmed();
  });
});

describe('beside it', () => {
  /** A run of the service `other` that goes on until it is cancelled, with what its supervisor has. */
  async function underWay(): Promise<{ id: string; token: string; pod: string; stop: () => Promise<void> }> {
    const id = await inside.start(name('other'), 'while :; do sleep 1; done');
    const { pod, env } = await podOf(form, name('other'));
    const none = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
    expect(pod.spec).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [{ name: 'oscar-container', securityContext: none }],
      initContainers: [{ securityContext: { ...none, readOnlyRootFilesystem: true } }],
      volumes: [{ name: 'sluice', emptyDir: { sizeLimit: '134217728' } }],
    });
    for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace'])
      expect(pod.spec[field]).toBeUndefined();
    expect(pod.metadata.labels).toMatchObject({
      app: 'mine',
      'sluice.internal/kind': 'attempt',
      'sluice.internal/instance': form.namespace,
    });
    const stop = async (): Promise<void> => {
      await form.request(`/system/runs/${id}/cancel`, { method: 'POST' });
      expect(await inside.ended(id)).toMatchObject({ state: 'cancelled' });
    };
    return { id, token: env.get('SLUICE_POD_TOKEN') ?? '', pod: pod.metadata.name, stop };
  }

  const ask = (path: string, token: string, body: string): Promise<Response> =>
    fetch(`${form.desk}/v1/${path}`, { method: 'POST', body, headers: { authorization: token } });

  test('the desk hears the pod of an attempt, and bounds what it says', async () => {
    const { id, token, pod, stop } = await underWay();
    const key = form.secrets['SLUICE_RUNNER_KEY'] ?? '';
    const soon = Date.now() + 60_000;
    const wrong = {
      none: '',
      'another scheme': `Basic ${token}`,
      'not a token': 'Bearer x',
      'of 12,000 bytes': `Bearer ${'9'.repeat(12_000)}.x`,
      'of another attempt': `Bearer ${forgedToken(key, ['attempt', id, 2], soon)}`,
      'of another run': `Bearer ${forgedToken(key, ['attempt', 'other', 1], soon)}`,
      'of a runner': `Bearer ${forgedToken(key, ['runner-claim', id, 'x', 1], soon)}`,
      expired: `Bearer ${forgedToken(key, ['attempt', id, 1], Date.now() - 1)}`,
      'with a later end': `Bearer ${soon}.${token.split('.')[1] ?? ''}`,
      'by another key': `Bearer ${forgedToken('x'.repeat(64), ['attempt', id, 1], soon)}`,
    };
    for (const verb of ['claim', 'report', 'storage']) {
      for (const [what, authorization] of Object.entries(wrong)) {
        const answer = await ask(`attempts/${id}/1/${verb}`, authorization, JSON.stringify({ pod }));
        const text = await answer.text();
        expect(answer.status, `${verb}, ${what}: ${text}`).toBe(401);
        expectNone(verb, text, { ...secrets, token, pod });
      }
    }
    const bodies = ['', 'null', '[]', '1', '{', '{"pod":1}', '['.repeat(900_000), '{"kind":"finished"}'];
    const foreign = { kind: 'progress', run_id: 'other', attempt: 1, phase: 'running' };
    for (const body of [...bodies, JSON.stringify(foreign), 'x'.repeat(2_000_000)]) {
      for (const verb of ['claim', 'report']) {
        // Who still writes when the answer comes may find the connection closed: that is a no, too.
        const { status } = await ask(`attempts/${id}/1/${verb}`, `Bearer ${token}`, body).catch(() => ({
          status: 413,
        }));
        expect([400, 413], `${verb} ${body.slice(0, 50)}`).toContain(status);
      }
    }
    const head = `POST /v1/attempts/${id}/1/report HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-length: 9\r\n\r\n`;
    expect([0, 408]).toContain((await sendRaw(form.desk, Buffer.from(head))).status);
    const second = await ask(`attempts/${id}/1/claim`, `Bearer ${token}`, '{"pod":"another"}');
    expect(second.status).toBe(409);
    const claim = await ask(`attempts/${id}/1/claim`, `Bearer ${token}`, JSON.stringify({ pod }));
    expect(claim.status).toBe(200);
    await checkKeys(((await claim.json()) as { storage: S3Keys }).storage);
    await stop();
    const late = await ask(`attempts/${id}/1/claim`, `Bearer ${token}`, JSON.stringify({ pod }));
    expect(late.status).toBe(409);
    expectNone('the answer to a late pod', await late.text(), secrets);
  });

  /** The keys of a pod open the paths of its service, whoever holds them. */
  async function checkKeys(grant: S3Keys): Promise<void> {
    const client = s3Client(grant);
    const own = name('other');
    await client.putObject(own, 'out/by-hand', Buffer.from('x'));
    const denied = { code: 'AccessDenied' };
    await expect(client.putObject(own, 'in/by-hand', Buffer.from('x'))).rejects.toMatchObject(denied);
    await expect(client.putObject(name('job'), 'out/x', Buffer.from('x'))).rejects.toMatchObject(denied);
    await expect(client.getObject(name('job'), 'in/x')).rejects.toMatchObject(denied);
    const foreignRun = `runs/${name('job')}/x/outcome-1.json`;
    await expect(client.putObject('sluice-system', foreignRun, Buffer.from('x'))).rejects.toMatchObject(
      denied,
    );
    await expect(client.getObject('sluice-system', foreignRun)).rejects.toMatchObject(denied);
    await expect(client.removeObject(own, 'out/by-hand')).rejects.toMatchObject(denied);
    await expect(client.makeBucket(`new-${form.namespace}`)).rejects.toMatchObject(denied);
    for (const prefix of ['', 'runs/', 'events/', `logs/${name('job')}/`]) {
      await expect(
        client.listObjectsV2('sluice-system', prefix, true).toArray(),
        prefix,
      ).rejects.toMatchObject(denied);
    }
    await expect(client.listBuckets()).rejects.toMatchObject(denied);
  }

  test('an event that names a bucket of others reads nothing of it', async () => {
    const put = { method: 'PUT', body: 'of others' };
    const path = `/system/buckets/${name('other')}/objects/private/a.txt`;
    expect((await form.request(path, put)).status).toBe(201);
    const s3 = { bucket: { name: name('other') }, object: { key: 'private/a.txt' } };
    const event = { Records: [{ eventSource: 'minio:s3', eventName: 's3:ObjectCreated:Put', s3 }] };
    const id = await inside.start(name('job'), JSON.stringify(event));
    const run = await inside.ended(id);
    expect(run).toMatchObject({ state: 'failed', attempt: 1, failure: { code: 'input_forbidden' } });
    expect(await inside.log(id)).not.toContain('of others');
  });

  test('garbage in streams, keys, notifications and outcomes is told of, and harms nobody', async () => {
    const deep = '['.repeat(500_000);
    const garbage = ['', '\u0000\u0001', 'null', '[]', '{}', '{"Records":[{}]}', deep, 'x'.repeat(900_000)];
    for (const token of ['', 'Bearer x', `Bearer ${webhookToken}`]) {
      for (const body of [...garbage, 'x'.repeat(2_000_000)]) {
        const init = { method: 'POST', body, headers: { authorization: token } };
        const { status } = await fetch(webhook, init).catch(() => ({ status: 0 }));
        const wanted = token.endsWith(webhookToken) ? [0, 204, 400, 413] : [0, 401];
        expect(wanted, `${token} ${body.slice(0, 20)}`).toContain(status);
      }
    }
    const unknown = { run_id: 'nobody-1', service: 'nobody', attempt: 1 };
    await withNats(async (nats) => {
      const subject = `${form.namespace}.cmd.v1.runs.start.${name('job')}`;
      for (const data of [...garbage, JSON.stringify(unknown)]) {
        await nats.request(subject, data, { timeout: 5000 });
      }
    });
    await waitFor('the dead letters', async () => {
      const answer = await form.request('/system/dead-letters?limit=100');
      const { dead_letters: letters } = (await answer.json()) as { dead_letters: { name: string }[] };
      const starts = letters.filter((letter) => letter.name === 'runs.start');
      return starts.length >= garbage.length - 1 ? true : undefined;
    });
    const id = `given-${form.namespace}`;
    const system = s3Client({
      endpoint: needed('MINIO_ENDPOINT'),
      access_key: needed('MINIO_ACCESS_KEY'),
      secret_key: needed('MINIO_SECRET_KEY'),
    });
    for (const [at, text] of ['{', 'null', '{"outcome":{"result":"succeeded"}}'].entries()) {
      const key = `runs/${name('job')}/${id}-${at}/outcome-1.json`;
      await system.putObject('sluice-system', key, Buffer.from(text));
      await inside.start(name('job'), 'exit 5', `${id}-${at}`);
    }
    for (const at of [0, 1, 2]) {
      expect(await inside.ended(`${id}-${at}`)).toMatchObject({ state: 'failed', attempt: 1, exit_code: 5 });
    }
    await spoilRecords(`${id}-0`);
    await expectUnharmed();
  });

  /** Makes what Redis has of a run something else, and asks for it. */
  async function spoilRecords(id: string): Promise<void> {
    const spoilt: (readonly [key: string, field: string, value: string])[] = [];
    await withRedis(async (redis) => {
      for (const key of await redisKeys(redis, form.namespace)) {
        if ((await redis.type(key)) !== 'hash') continue;
        for (const [field, value] of Object.entries(await redis.hgetall(key))) {
          if (!value.includes(`"${id}"`)) continue;
          await redis.hset(key, field, 'garbage');
          spoilt.push([key, field, value]);
        }
      }
    });
    expect(spoilt).not.toEqual([]);
    const answer = await form.request(`/system/runs/${id}`);
    expect(answer.status, await answer.text()).toBeGreaterThanOrEqual(404);
    expect((await form.request('/system/overview')).status).toBe(200);
    await withRedis(async (redis) => {
      for (const [key, field, value] of spoilt) await redis.hset(key, field, value);
    });
  }

  test('with Pod Security "restricted" enforced, a service with a user of its own runs', async () => {
    await kubectl('label', 'namespace', form.jobs, 'pod-security.kubernetes.io/enforce=restricted');
    const [id, root] = await Promise.all([
      inside.start(name('other'), 'id -u; echo x >"$TMP_OUTPUT_DIR/restricted"'),
      inside.start(name('job'), 'id -u'),
    ]);
    expect(await inside.ended(id)).toMatchObject({ state: 'succeeded' });
    expect(await inside.log(id)).toContain('1000\n');
    await waitFor(
      'a word on why the other one does not run',
      async () => {
        const run = (await runsOf(form, name('job'))).find((one) => one.id === root);
        return (
          run?.timeline.some(({ message = '' }) => message.includes('PodSecurity')) === true || undefined
        );
      },
      60_000,
    );
    await form.request(`/system/runs/${root}/cancel`, { method: 'POST' });
  });

  test('no secret lies in a log, a Job, a stream or a key in clear', async () => {
    const objects = await kubectl(
      'get',
      'jobs,pods,secrets,configmaps,events',
      '-n',
      form.jobs,
      '-o',
      'yaml',
    );
    expectNone('the cluster', objects, secrets);
    const tokens = [...objects.matchAll(/name: SLUICE_POD_TOKEN\s+value: "?([\w.]+)/g)].map(
      ([, one = '']) => one,
    );
    expect(tokens.length).toBeGreaterThan(0);
    const stored = { nats: await natsTexts(form.namespace), redis: await redisTexts(form.namespace) };
    expect(stored.nats).toContain(name('other'));
    expect(stored.redis).toContain(name('other'));
    const logs = form.components.map((one) => [one.name, one.stderr()] as const);
    for (const [where, text] of [...Object.entries(stored), ...logs]) {
      expect(text, where).not.toBe('');
      expectNone(where, text, {
        ...secrets,
        ...Object.fromEntries(tokens.map((one) => [`pod ${one}`, one])),
      });
    }
    for (const one of form.components) expect(one.process().exitCode, one.name).toBeNull();
  });
});

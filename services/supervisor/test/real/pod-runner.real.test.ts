import { randomUUID } from 'node:crypto';
import type { S3ObjectStore } from '@sluice/shared/adapters';
import {
  runnerCallHeader,
  runnerResultHeader,
  runnerToken,
  type RunnerCall,
  type RunnerGrant,
  type StorageGrant,
} from '@sluice/shared/contracts';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { definitionOf, eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  builtImage,
  kubectl,
  openStore,
  podEnd,
  podManifest,
  podStatus,
  randomName,
  startScheduler,
  storageGrant,
  type StubScheduler,
} from './pod-support.ts';

const namespace = randomName('pods');
const bucket = randomName('pods');
const token = 'a-token-of-one-pod';
const key = 'k'.repeat(32);
const port = 8080;
let store: S3ObjectStore;
let supervisor: string;

beforeAll(async () => {
  supervisor = await builtImage('supervisor');
  store = await openStore();
  await Promise.all([store.createBucket(SYSTEM_BUCKET, {}), store.createBucket(bucket, {})]);
  await kubectl(['create', 'namespace', namespace]);
}, 600_000);

afterAll(async () => {
  await kubectl(['delete', 'namespace', namespace, '--wait=false']);
  await store.deleteBucket(bucket);
  await store.close();
}, 60_000);

/** Does what the first line of its event says: `do: size`. An event of letters alone would be taken for base64. */
const script = `read -r _ what < "$INPUT_FILE_PATH"
case "$what" in
  wait) echo waits >> /tmp/log; until [ -e /tmp/go ]; do sleep 0.05; done ;;
  hang) echo hangs >> /tmp/log; sleep 600 ;;
  size) wc -c < "$INPUT_FILE_PATH" ;;
  big) head -c 60000000 /dev/zero | tr '\\0' x ;;
  store) echo stored > "$TMP_OUTPUT_DIR/stored" ;;
esac
echo "did $what"`;

interface Started {
  readonly name: string;
  readonly scheduler: StubScheduler;
  /** Resolves with the answer to a call with this body. */
  call(body: string, more?: { readonly timeoutMs?: number; readonly token?: string }): Promise<Answer>;
  waits(what: string): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly result: string | null;
  readonly text: string;
}

async function start(
  more: { readonly storage?: Partial<StorageGrant>; readonly refuse?: boolean } = {},
): Promise<Started> {
  const name = randomName('runner');
  const output = [{ storage_provider: 'minio.default', path: `${bucket}/${name}` }];
  const grant: RunnerGrant = {
    plan: {
      runner_id: name,
      service_uid: 'uid',
      service_version: 1,
      definition: definitionOf(name, { output }),
      script,
      secrets: { token: 'service-token', environment: {}, storage_providers: {} } as never,
    },
    storage: { ...storageGrant(), ...more.storage },
    token: runnerToken(key, name),
    limits: { output_bytes: 2 ** 30, body_bytes: 2 ** 21, response_bytes: 64 * 2 ** 20 },
  };
  const scheduler = await startScheduler(token, () => (more.refuse === true ? undefined : grant));
  const env = {
    mode: 'runner',
    schedulerUrl: scheduler.url,
    pod: name,
    token,
    graceSeconds: '20',
    runnerId: name,
    service: name,
    serviceUid: 'uid',
    serviceVersion: '1',
    runnerPort: `${port}`,
  };
  const parts = { name, supervisor, image: 'busybox', env, supervisorMemory: '512Mi' };
  await kubectl(['apply', '-n', namespace, '-f', '-'], podManifest(parts));
  return {
    name,
    scheduler,
    call: async (body, { timeoutMs = 60_000, token: shown = grant.token } = {}) => {
      const { podIP } = await podStatus(namespace, name);
      const call: RunnerCall = {
        call_id: randomUUID(),
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        timeout_ms: timeoutMs,
        method: 'POST',
        path: '/',
        query: '',
        headers: {},
      };
      const response = await fetch(`http://${podIP}:${port}/${name}/invoke`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${shown}`,
          [runnerCallHeader]: Buffer.from(JSON.stringify(call)).toString('base64url'),
        },
        body,
      });
      const { status, headers } = response;
      // OSCAR's watchdog ends what the script printed with a line break of its own.
      const text = (await response.text()).replace(/\n$/, '');
      return { status, result: headers.get(runnerResultHeader), text };
    },
    waits: async (what) => {
      const look = ['exec', '-n', namespace, name, '-c', 'script', '--', 'cat', '/tmp/log'];
      await eventually(
        'the script to wait',
        async () => (await kubectl(look).catch(() => '')).includes(what),
        60_000,
      );
    },
  };
}

async function ready(run: Started): Promise<Started> {
  const health = async (): Promise<boolean> => {
    const { podIP } = await podStatus(namespace, run.name);
    if (podIP === undefined) return false;
    const headers = { authorization: `Bearer ${runnerToken(key, run.name)}` };
    const answer = await fetch(`http://${podIP}:${port}/${run.name}/health`, { headers }).catch(
      () => undefined,
    );
    return answer?.status === 200;
  };
  await eventually('the runner', health, 60_000);
  return run;
}

describe('a runner in a pod', () => {
  it('performs calls of any size, one at a time, for whoever shows its token', async () => {
    const run = await ready(await start());
    const { call } = run;
    expect(await call('do: x\n', { token: 'another' })).toMatchObject({ status: 401, result: null });
    const event = `do: size\n${'e'.repeat(2 ** 20)}`;
    expect(await call(event)).toEqual({
      status: 200,
      result: 'succeeded',
      text: `${event.length}\ndid size\n`,
    });
    const waiting = call('do: wait\n');
    await run.waits('waits');
    expect(await call('do: x\n')).toMatchObject({ status: 429, result: null });
    await kubectl(['exec', '-n', namespace, run.name, '-c', 'script', '--', 'touch', '/tmp/go']);
    expect(await waiting).toMatchObject({ status: 200, text: 'did wait\n' });
    const big = await call('do: big\n');
    expect([big.status, big.text.length]).toEqual([200, 60_000_000 + 'did big\n'.length]);
    expect((await podStatus(namespace, run.name)).initContainerStatuses?.[0]?.restartCount).toBe(0);
    await kubectl(['delete', 'pod', '-n', namespace, run.name, '--wait=true']);
    await run.scheduler.close();
  });

  it('ends the call in hand before it goes, and begins no other', async () => {
    const run = await ready(await start());
    const waiting = run.call('do: wait\n');
    await run.waits('waits');
    await kubectl(['delete', 'pod', '-n', namespace, run.name, '--wait=false']);
    await eventually('calls to be refused', async () => (await run.call('do: x\n')).status === 503, 10_000);
    await kubectl(['exec', '-n', namespace, run.name, '-c', 'script', '--', 'touch', '/tmp/go']);
    expect(await waiting).toEqual({ status: 200, result: 'succeeded', text: 'did wait\n' });
    await run.scheduler.close();
  });

  it('ends with a call that takes too long, which is told so', async () => {
    const run = await ready(await start());
    expect(await run.call('do: hang\n', { timeoutMs: 500 })).toMatchObject({
      status: 408,
      result: 'timed_out',
    });
    await podEnd(namespace, run.name);
    await run.scheduler.close();
  });

  it('renews its keys for the storage before they end', async () => {
    const run = await ready(await start({ storage: { expires_at: Date.now() + 60_000 } }));
    expect(await run.call('do: store\n')).toMatchObject({ status: 200 });
    expect(run.scheduler.asked).toEqual(['claim', 'storage']);
    expect((await store.head(bucket, `${run.name}/stored`))?.size).toBe(7);
    await kubectl(['delete', 'pod', '-n', namespace, run.name, '--wait=false']);
    await run.scheduler.close();
  });

  it('that nobody wants ends', async () => {
    const run = await start({ refuse: true });
    const status = await podEnd(namespace, run.name);
    expect(status.containerStatuses?.[0]?.state.terminated?.exitCode).toBe(75);
    expect(run.scheduler.asked).toEqual(['claim']);
    await run.scheduler.close();
  });
});

import { AppError } from '@sluice/shared/errors';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBusNotifications } from '../../src/adapters/bus-notifications.ts';
import { encodeEventKey } from '../../src/domain/object-event.ts';
import { openWorld, type Replaced, type World } from '../support/world.ts';

let world: World;
let messages = 0;

beforeEach(async () => {
  world = await openWorld();
  await world.createService('thumb', ['photos/in']);
});
afterEach(async () => {
  await world.close();
});

const record = (key: string, more: object = {}): object => ({
  eventName: 's3:ObjectCreated:Put',
  eventSource: 'minio:s3',
  eventTime: '2026-01-02T03:04:05.678Z',
  userIdentity: { principalId: 'alice' },
  s3: {
    bucket: { name: 'photos' },
    object: { key: encodeEventKey(key), size: 1, eTag: 'e', sequencer: '18865C8DA0C3AA48', ...more },
  },
});

async function notify(body: unknown): Promise<void> {
  messages += 1;
  await world.bus.publish([{ id: `n-${messages}`, name: 'storage.notify', payload: body }]);
}

const start = async (identity?: 'store' | 'notification', replaced: Replaced = {}): Promise<void> => {
  const { bus, objects } = world;
  const source = createBusNotifications({ bus, objects, ...(identity === undefined ? {} : { identity }) });
  await world.start({ source, config: { reconcileIntervalMs: 3_600_000 }, ...replaced });
};

test('every record of a message becomes a run, a repeated one no second', async () => {
  await start();
  for (const key of ['in/a b+c.txt', 'in/é%41.txt', 'out/x'])
    await world.objects.put('photos', key, Buffer.from('x'));
  const body = { Records: ['in/a b+c.txt', 'in/é%41.txt', 'in/gone', 'out/x'].map((key) => record(key)) };
  await notify(body);
  const runs = await world.runs('thumb', 2);
  expect(runs.map((run) => run.input?.key ?? '').toSorted()).toEqual(['in/a b+c.txt', 'in/é%41.txt']);
  expect(runs[0]).toMatchObject({ source: 'notification', user: 'alice' });
  await notify(body);
  await eventually(
    'it is counted as double',
    async () => (await world.metric('sluice_storage_events_claims_total', { result: 'duplicate' })) === 2,
  );
  expect((await world.allRuns('thumb')).length).toBe(2);
});

test('what a notification and a listing find is one run', async () => {
  await start();
  await world.objects.put('photos', 'in/a', Buffer.from('x'));
  await notify({ Records: [record('in/a')] });
  const [run] = await world.runs('thumb', 1);
  const listed = await world.objects.list('photos', { prefix: 'in/', limit: 1 });
  expect(run?.input?.identity).toBe(listed.objects[0]?.identity);
});

test("the notification's own identity is used where the store's HEAD is too coarse, if it tells of the state that is there", async () => {
  await start('notification');
  const head = await world.objects.put('photos', 'in/a', Buffer.from('x'));
  await world.objects.put('photos', 'in/b', Buffer.from('x'));
  await notify({ Records: [record('in/a', { eTag: head.etag }), record('in/b', { eTag: 'overwritten' })] });
  const runs = await world.runs('thumb', 2);
  const identityOf = (key: string): string | undefined =>
    runs.find((run) => run.input?.key === key)?.input?.identity;
  expect(identityOf('in/a')).toBe(`${head.etag}-${BigInt('0x18865C8DA0C3AA48') / 1_000_000n}`);
  expect(identityOf('in/b')).toBe((await world.objects.head('photos', 'in/b'))?.identity);
});

test('an object from before its service is not run, however late word of it comes', async () => {
  await world.objects.put('photos', 'in/old', Buffer.from('x'));
  await world.createService('later', ['photos/in']);
  await start();
  await world.objects.put('photos', 'in/new', Buffer.from('x'));
  await notify({ Records: [record('in/old'), record('in/new')] });
  const runs = await world.runs('later', 1);
  expect(runs.map((run) => run.input?.key)).toEqual(['in/new']);
  await world.runs('thumb', 2);
});

test.each([
  ['no notification at all', { hello: 'world' }, 'Records'],
  ['a key that is not encoded well', { Records: [record('in/a', { key: '%' })] }, 'Records[0].s3.object.key'],
  ['a key that no object has', { Records: [record('in/../../etc/passwd')] }, 'cannot exist'],
])('%s goes to the dead letters with the reason', async (_, body, reason) => {
  await start();
  await notify(body);
  await eventually('the dead letter', async () => (await world.bus.deadLetters.count()) === 1);
  const { items } = await world.bus.deadLetters.list({ limit: 1 });
  expect(items[0]).toMatchObject({ name: 'storage.notify', attempts: 1, payload: body });
  expect(items[0]?.reason).toContain(reason);
});

test('a message is kept until its claims are durable', async () => {
  await world.objects.put('photos', 'in/a', Buffer.from('x'));
  let away = 2;
  const ledger = {
    ...world.ledger,
    claimed: async (ids: readonly string[]) => ids.map(() => true),
    claim: async (runs: Parameters<typeof world.ledger.claim>[0]) => {
      away -= 1;
      if (away >= 0) throw new AppError('unavailable', 'away');
      return world.ledger.claim(runs);
    },
  };
  await start('store', { ledger });
  await notify({ Records: [record('in/a')] });
  await world.runs('thumb', 1);
  expect(away).toBe(-1);
});

/** All that MinIO tells; later than any service of these tests. */
const lateMs = 4_102_444_800_000n;
const whole = {
  contentType: 'text/plain',
  userMetadata: { 'X-Amz-Meta-Sluice-Hop': '2' },
  sequencer: (lateMs * 1_000_000n + 123n).toString(16).toUpperCase(),
};

test('an object that MinIO tells all of is claimed without asking the store, which is not asked about others either', async () => {
  const asked: string[] = [];
  const { bus } = world;
  const objects = {
    head: async (bucket: string, key: string) => {
      asked.push(`${bucket}/${key}`);
      return world.objects.head(bucket, key);
    },
  };
  await world.start({
    source: createBusNotifications({ bus, objects, identity: 'notification' }),
    config: { reconcileIntervalMs: 3_600_000 },
  });
  await notify({ Records: [record('in/a', whole), record('out/b'), record('in/.c'), record('in/d/')] });
  const foreign = { ...record('in/x'), s3: { bucket: { name: 'others' }, object: { key: 'in/../x' } } };
  await notify({ Records: [foreign] });
  await notify({ Records: [record('in/e')] });
  await eventually('the last is looked at', async () => asked.length > 0);
  const [run] = await world.runs('thumb', 1);
  expect(run).toMatchObject({
    hop: 2,
    input: { key: 'in/a', identity: `e-${lateMs}` },
  });
  expect(asked).toEqual(['photos/in/e']);
  expect(await world.bus.deadLetters.count()).toBe(0);
});

test('many messages are claimed in few steps, and one that cannot be taken holds up no other', async () => {
  let steps = 0;
  const ledger = {
    ...world.ledger,
    claim: async (runs: Parameters<typeof world.ledger.claim>[0]) => {
      steps += 1;
      if (runs.some((run) => run.input?.key === 'in/bad')) throw new AppError('invalid_input', 'bad');
      return world.ledger.claim(runs);
    },
  };
  await start('notification', { ledger });
  const keys = ['in/bad', ...Array.from({ length: 200 }, (_, at) => `in/${at}`)];
  await world.bus.publish(
    keys.map((key) => ({ id: key, name: 'storage.notify', payload: { Records: [record(key, whole)] } })),
  );
  await world.runs('thumb', 200);
  await eventually('the dead letter', async () => (await world.bus.deadLetters.count()) === 1);
  expect(steps).toBeLessThan(300);
});

test('what was missed while the bus was away is listed, at once and once more', async () => {
  const gaps: (() => void)[] = [];
  const bus: World['bus'] = {
    ...world.bus,
    listen: async (names, listener, onGap) => {
      if (onGap !== undefined) gaps.push(onGap);
      return world.bus.listen(names, listener, onGap);
    },
  };
  const wakes: (() => void)[] = [];
  const clock = {
    ...systemClock,
    sleep: async () => new Promise<void>((resolve) => void wakes.push(resolve)),
  };
  const source = createBusNotifications({ bus, objects: world.objects, clock });
  const missed: string[] = [];
  await source.start({
    onNotifications: async () => {},
    onGap: ({ bucket, prefix }) => void missed.push(`${bucket}/${prefix}`),
  });
  await source.setPrefixes([
    { bucket: 'photos', prefix: 'in/' },
    { bucket: 'b', prefix: '' },
  ]);
  for (const gap of gaps) gap();
  expect(missed).toEqual(['photos/in/', 'b/']);
  for (const wake of wakes) wake();
  await eventually('the second listing', async () => missed.length === 4);
  await source.stop();
});

import { AppError } from '@sluice/shared/errors';
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

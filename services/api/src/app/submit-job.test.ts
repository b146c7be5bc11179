import type { NewRun } from '@sluice/shared/stores';
import type { Run } from '@sluice/shared/contracts';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { expect, test } from 'vitest';
import { createSubmitJob } from './submit-job.ts';

const service = { name: 'demo', uid: 'u1' };

function setUp(existing: Pick<Run, 'id' | 'service_uid'>[] = [], inlineEventBytes?: number) {
  const claimed: NewRun[][] = [];
  const puts: { bucket: string; key: string; bytes: number }[] = [];
  const taken = new Map(existing.map((run) => [run.id, run]));
  let last = 0;
  const submit = createSubmitJob({
    inlineEventBytes,
    random: {
      uuid: () => {
        last += 1;
        return `00000000-0000-4000-8000-00000000000${last}`;
      },
    },
    ledger: {
      claim: async (runs) => {
        claimed.push([...runs]);
        return runs.map(({ id }) => ({ id, created: !taken.has(id) }));
      },
      get: async (id) => taken.get(id) as Run | undefined,
    },
    objects: {
      put: async (bucket, key, body) => {
        puts.push({ bucket, key, bytes: (body as Uint8Array).byteLength });
        return {} as never;
      },
    },
  });
  return { submit, claimed, puts };
}

test('one claim with the body as it came', async () => {
  const { submit, claimed, puts } = setUp();
  const id = await submit({ service, body: Buffer.from('häppy') });
  expect(id).toBe('demo-00000000-0000-4000-8000-000000000001');
  expect(claimed).toHaveLength(1);
  expect(claimed[0]?.[0]).toMatchObject({
    id,
    service: 'demo',
    service_uid: 'u1',
    source: 'job',
    hop: 0,
    event: { kind: 'inline', encoding: 'utf8', data: 'häppy' },
  });
  expect(claimed[0]?.[0]).not.toHaveProperty('input');
  expect(puts).toEqual([]);
});

test('bytes that are no UTF-8 travel as base64, large bodies as an object named by their hash', async () => {
  const { submit, claimed, puts } = setUp();
  await submit({ service, body: Buffer.from([0xff, 0x00]) });
  expect(claimed[0]?.[0]?.event).toEqual({ kind: 'inline', encoding: 'base64', data: '/wA=' });
  await submit({ service, body: Buffer.alloc(65_536) });
  expect(claimed[1]?.[0]?.event.kind).toBe('inline');
  await submit({ service, body: Buffer.alloc(65_537, 'x') });
  const event = claimed[2]?.[0]?.event;
  expect(event).toMatchObject({ kind: 'object', size: 65_537 });
  expect(puts).toEqual([{ bucket: SYSTEM_BUCKET, key: (event as { key: string }).key, bytes: 65_537 }]);
  expect(puts[0]?.key).toMatch(/^events\/[0-9a-f]{64}$/);
});

test('what fits inline is measured as it is written, and can be less', async () => {
  const { submit, claimed } = setUp([], 12);
  for (const body of ['a'.repeat(12), 'a'.repeat(13), '\u00ff'.repeat(6)])
    await submit({ service, body: Buffer.from(body) });
  for (const bytes of [9, 10]) await submit({ service, body: Buffer.alloc(bytes, 0xff) });
  const kinds = claimed.map(([run]) => (run?.event.kind === 'inline' ? run.event.encoding : 'object'));
  expect(kinds).toEqual(['utf8', 'object', 'utf8', 'base64', 'object']);
});

test('a key gives the same id each time, another service another', async () => {
  const { submit } = setUp();
  const body = Buffer.alloc(0);
  const first = await submit({ service, body, idempotencyKey: 'k' });
  expect(await submit({ service, body, idempotencyKey: 'k' })).toBe(first);
  expect(await submit({ service, body, idempotencyKey: 'l' })).not.toBe(first);
  expect(await submit({ service: { name: 'demo', uid: 'u2' }, body, idempotencyKey: 'k' })).not.toBe(first);
  expect(first).toMatch(/^demo-[0-9a-f-]{36}$/);
});

test('a delegated id names the run, unless another service has it', async () => {
  const { submit } = setUp([
    { id: 'mine', service_uid: 'u1' },
    { id: 'theirs', service_uid: 'u2' },
  ]);
  const body = Buffer.alloc(0);
  expect(await submit({ service, body, delegatedId: 'fresh' })).toBe('fresh');
  expect(await submit({ service, body, delegatedId: 'mine' })).toBe('mine');
  await expect(submit({ service, body, delegatedId: 'theirs' })).rejects.toMatchObject({ code: 'conflict' });
  await expect(submit({ service, body, delegatedId: '../x' })).rejects.toMatchObject({
    code: 'invalid_input',
    field: 'X-Delegated-Job-ID',
  });
  await expect(submit({ service, body, idempotencyKey: 'x'.repeat(256) })).rejects.toMatchObject({
    field: 'Idempotency-Key',
  });
});

test('several records are several runs in one claim; repeated, the same ones', async () => {
  const { submit, claimed } = setUp();
  const body = Buffer.from(JSON.stringify({ Records: [{ n: 1 }, { n: 2 }, { n: 3 }] }));
  for (let times = 0; times < 2; times += 1) await submit({ service, body, idempotencyKey: 'k' });
  const [first = [], second = []] = claimed.map((runs) => runs.map(({ id }) => id));
  expect(new Set(first).size).toBe(3);
  expect(second).toEqual(first);
});

test('what has been through too many services is refused', async () => {
  const { submit } = setUp();
  const record = (hop: string) => ({ s3: { object: { userMetadata: { 'x-amz-meta-sluice-hop': hop } } } });
  const body = (hop: string) => Buffer.from(JSON.stringify({ Records: [record(hop)] }));
  await expect(submit({ service, body: body('17') })).rejects.toMatchObject({ code: 'unprocessable' });
  await expect(submit({ service, body: body('16') })).resolves.toMatch(/^demo-/);
});

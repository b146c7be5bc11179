import { AppError } from '@sluice/shared/errors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Answer, type Fixture } from './fixture.ts';

let api: Fixture;
let token: string;
let otherToken: string;
beforeAll(async () => {
  api = await startFixture();
  token = await api.service('demo');
  otherToken = await api.service('other');
});
afterAll(async () => api.close());

const submit = async (name = 'demo', as = token) =>
  String((await api.call('POST', `/job/${name}`, { as })).headers['x-run-id']);
const runs = (answer: Answer) => (answer.json() as { runs: { id: string }[] }).runs.map(({ id }) => id);

describe('runs', () => {
  test('are listed with filters and pages; a service sees its own', async () => {
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) ids.unshift(await submit());
    const foreign = await submit('other', otherToken);
    await api.bring(ids[4] ?? '', 'succeeded');
    expect(runs(await api.call('GET', '/system/runs'))).toEqual([foreign, ...ids]);
    expect(runs(await api.call('GET', '/system/runs?service=demo&state=succeeded,failed'))).toEqual([ids[4]]);
    expect(runs(await api.call('GET', '/system/runs', { as: token }))).toEqual(ids);
    expect(runs(await api.call('GET', '/system/runs?service=other', { as: token }))).toEqual([]);

    const seen: string[] = [];
    let query = '?service=demo&limit=2';
    for (
      let next: string | undefined = '';
      next !== undefined;
      query = `?service=demo&limit=2&cursor=${encodeURIComponent(next ?? '')}`
    ) {
      const answer = await api.call('GET', `/system/runs${query}`);
      seen.push(...runs(answer));
      next = (answer.json() as { next?: string }).next;
    }
    expect(seen).toEqual(ids);
  });

  test('of one input object are found by it', async () => {
    const object = { bucket: 'demo', key: 'in/ä b.txt', size: 1, etag: 'e', identity: 'i', last_modified: 1 };
    const uid = (await api.definitions.get('demo'))?.uid ?? '';
    await api.ledger.claim([
      {
        id: 'demo-object',
        service: 'demo',
        service_uid: uid,
        source: 'notification',
        input: object,
        event: { kind: 'inline', encoding: 'utf8', data: '{}' },
        traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
        hop: 0,
      },
    ]);
    const found = await api.call('GET', `/system/runs?bucket=demo&key=${encodeURIComponent('in/ä b.txt')}`);
    expect(runs(found)).toEqual(['demo-object']);
    expect((await api.call('GET', '/system/runs/demo-object')).json()).toMatchObject({
      input: { bucket: 'demo', key: 'in/ä b.txt', size: 1, etag: 'e' },
      source: 'notification',
      trace_id: 'a'.repeat(32),
    });
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['limit=1e1', 'limit'],
    ['state=done', 'state'],
    ['bucket=demo', 'key'],
    ['key=demo', 'bucket'],
  ])('?%s is a 400 that names the field', async (query, field) => {
    const answer = await api.call('GET', `/system/runs?${query}`);
    expect([answer.status, answer.headers['content-type']]).toEqual([400, 'application/problem+json']);
    expect(answer.json()).toMatchObject({ code: 'invalid_input', field });
  });

  test('a cursor that was not given out is a 400', async () => {
    for (const cursor of ['x', '%00', 'e30', 'A'.repeat(5000)]) {
      expect((await api.call('GET', `/system/runs?cursor=${cursor}`)).status).toBe(400);
    }
  });

  test('another service’s run is no run', async () => {
    const id = await submit();
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/log'],
      ['POST', '/cancel'],
    ] as const) {
      expect((await api.call(method, `/system/runs/${id}${path}`, { as: otherToken })).status).toBe(404);
    }
    expect((await api.call('POST', `/system/runs/${id}/retry`, { as: token })).status).toBe(401);
    expect((await api.call('GET', '/system/runs/nothing')).json()).toMatchObject({
      status: 404,
      code: 'not_found',
      detail: 'There is no run "nothing".',
    });
  });
});

describe('cancel', () => {
  test('notes the wish, tells the scheduler, answers with the run', async () => {
    const id = await submit();
    const queue = await api.bus.workQueue({ durable: 'test-cancel', name: 'runs.cancel', maxInFlight: 10 });
    const answer = await api.call('POST', `/system/runs/${id}/cancel`, { as: token });
    expect(answer.status).toBe(202);
    expect(answer.json()).toMatchObject({ id, cancel_requested_at: expect.any(String) });
    const [delivery] = await queue.fetch('demo', 1);
    expect(delivery?.message.payload).toEqual({
      run_id: id,
      service: 'demo',
      reason: 'cancelled by service:demo',
    });
    await delivery?.ack();
    await queue.close();
  });

  test('a run that has ended is a 409', async () => {
    const id = await submit();
    await api.bring(id, 'failed');
    const answer = await api.call('POST', `/system/runs/${id}/cancel`);
    expect(answer.json()).toMatchObject({ status: 409, code: 'conflict' });
  });
});

describe('retry', () => {
  test('is a new run of the same event, once a key', async () => {
    const id = String(
      (await api.call('POST', '/job/demo', { as: token, body: 'again' })).headers['x-run-id'],
    );
    expect((await api.call('POST', `/system/runs/${id}/retry`)).json()).toMatchObject({ status: 409 });
    await api.bring(id, 'failed');
    const answer = await api.call('POST', `/system/runs/${id}/retry`, {
      headers: { 'idempotency-key': 'k' },
    });
    expect(answer.status).toBe(201);
    const next = answer.json() as { id: string };
    expect(next).toMatchObject({ retry_of: id, source: 'retry', state: 'queued', user: 'oscar' });
    expect(answer.headers.location).toBe(`/system/runs/${next.id}`);
    expect((await api.ledger.get(next.id))?.event).toEqual({
      kind: 'inline',
      encoding: 'utf8',
      data: 'again',
    });
    const repeated = await api.call('POST', `/system/runs/${id}/retry`, {
      headers: { 'idempotency-key': 'k' },
    });
    expect((repeated.json() as { id: string }).id).toBe(next.id);
    const another = await api.call('POST', `/system/runs/${id}/retry`);
    expect((another.json() as { id: string }).id).not.toBe(next.id);
  });

  test('is a 409 when the service is gone', async () => {
    const short = await api.service('short');
    const id = await submit('short', short);
    await api.bring(id, 'failed');
    await api.call('DELETE', '/system/services/short');
    expect((await api.call('POST', `/system/runs/${id}/retry`)).status).toBe(409);
  });
});

describe('log', () => {
  test('is read piece by piece from an offset, complete when the run has ended', async () => {
    const id = await submit();
    const none = await api.call('GET', `/system/runs/${id}/log`, { as: token });
    expect([none.status, none.text, none.headers['x-next-offset'], none.headers['x-log-complete']]).toEqual([
      200,
      '',
      '0',
      'false',
    ]);
    await api.bring(id, 'running');
    const writer = await api.logs.open({ service: 'demo', runId: id });
    const lines = Array.from({ length: 100 }, (_, index) => `line ${index}`);
    await writer.write(Buffer.from(`${lines.join('\n')}\n${'long'.repeat(1000)}\nend\n`));
    await writer.close();
    await api.ledger.transition({ id, from: ['running'], to: 'succeeded' });
    let text = '';
    let offset = '0';
    for (let complete = 'false'; complete !== 'true';) {
      const piece = await api.call('GET', `/system/runs/${id}/log?limit=1024&offset=${offset}`, {
        as: token,
      });
      text += piece.text;
      expect(Number(piece.headers['x-next-offset'])).toBeGreaterThan(Number(offset));
      offset = String(piece.headers['x-next-offset']);
      complete = String(piece.headers['x-log-complete']);
    }
    expect(text).toBe(`${lines.join('\n')}\n${'long'.repeat(1000)}\nend\n`);
    const stamped = await api.call('GET', `/system/runs/${id}/log?timestamps=true`);
    expect(stamped.text).toMatch(/^\d{4}-\d\d-\d\dT\S+Z line 0\n/);
    expect((await api.call('GET', `/system/runs/${id}/log?limit=1`)).status).toBe(400);
    expect((await api.call('GET', `/system/runs/${id}/log?offset=-1`)).status).toBe(400);
  });
});

describe('dead letters', () => {
  test('are listed, sent again, removed', async () => {
    const message = (id: string) => ({ id, name: 'storage.notify', payload: { hello: id } }) as const;
    await api.bus.publish([message('m1'), message('m2')]);
    const subscription = await api.bus.subscribe(
      { durable: 'test-dead', names: ['storage.notify'], maxInFlight: 5 },
      async () => {
        throw new AppError('invalid_input', 'can’t be read');
      },
    );
    await expect.poll(async () => api.bus.deadLetters.count()).toBe(2);
    await subscription.drain(1000);
    const listed = (await api.call('GET', '/system/dead-letters?limit=1')).json() as {
      dead_letters: { id: string }[];
      next: string;
    };
    expect(listed.dead_letters).toHaveLength(1);
    expect(listed.dead_letters[0]).toMatchObject({
      name: 'storage.notify',
      reason: expect.stringContaining('can’t be read'),
      attempts: 1,
      dead_at: expect.stringMatching(/Z$/),
      payload: { hello: expect.any(String) },
    });
    const rest = (
      await api.call('GET', `/system/dead-letters?limit=1&cursor=${encodeURIComponent(listed.next)}`)
    ).json() as typeof listed;
    const redriven = await api.call(
      'POST',
      `/system/dead-letters/${encodeURIComponent(listed.dead_letters[0]?.id ?? '')}/redrive`,
    );
    expect([redriven.status, redriven.json()]).toEqual([202, { message_id: expect.any(String) }]);
    const id = encodeURIComponent(rest.dead_letters[0]?.id ?? '');
    expect((await api.call('DELETE', `/system/dead-letters/${id}`)).status).toBe(204);
    expect((await api.call('DELETE', `/system/dead-letters/${id}`)).status).toBe(404);
    expect((await api.call('POST', '/system/dead-letters/nothing/redrive')).status).toBe(404);
    expect(await api.bus.deadLetters.count()).toBe(0);
    expect((await api.call('GET', '/system/dead-letters', { as: token })).status).toBe(401);
  });
});

test('overview and metrics', async () => {
  const overview = (await api.call('GET', '/system/overview')).json() as { runs: Record<string, number> };
  expect(overview).toMatchObject({
    version: '1.2.3',
    adapters: { bus: { adapter: 'sqlite', chosen_by: 'SLUICE_BUS' } },
    services: 2,
    dead_letters: 0,
    slots: { used: 0, limit: 4 },
    buckets_path: '/data/buckets',
  });
  expect(Object.keys(overview.runs)).toEqual([
    'queued',
    'starting',
    'running',
    'succeeded',
    'failed',
    'cancelled',
    'superseded',
  ]);
  const metrics = await api.call('GET', '/metrics');
  expect(metrics.text).toMatch(
    /sluice_http_request_duration_seconds_count\{method="POST",route="\/job\/:name",status="2xx"\} \d+/,
  );
  expect((await api.call('GET', '/metrics', { as: null })).status).toBe(401);
});

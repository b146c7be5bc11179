import { createHash } from 'node:crypto';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Answer, type Fixture } from './fixture.ts';

let api: Fixture;
let token: string;
beforeAll(async () => {
  api = await startFixture({ env: { JOB_LISTING_LIMIT: '3' } });
  token = await api.service('demo');
});
afterAll(async () => api.close());

const idOf = (answer: Answer): string => String(answer.headers['x-run-id']);
const submit = async (call: { body?: string | Uint8Array; headers?: Record<string, string> } = {}) =>
  api.call('POST', '/job/demo', { as: token, ...call });

describe('POST /job', () => {
  test('201 with an empty body, and the URL answers from then on', async () => {
    const answer = await submit({ body: 'aGVsbG8=' });
    expect([answer.status, answer.text, answer.headers['content-length']]).toEqual([201, '', '0']);
    const id = idOf(answer);
    expect(id).toMatch(/^demo-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
    expect(answer.headers.location).toBe(`/system/runs/${id}`);
    const run = await api.call('GET', answer.headers.location ?? '', { as: token });
    expect(run.status).toBe(200);
    expect(run.json()).toMatchObject({
      id,
      service: 'demo',
      state: 'queued',
      attempt: 1,
      source: 'job',
      timeline: [{ state: 'queued' }],
    });
    expect((await api.ledger.get(id))?.event).toEqual({ kind: 'inline', encoding: 'utf8', data: 'aGVsbG8=' });
  });

  test.each<[string, string | null, Record<string, string>]>([
    ['none', null, {}],
    ['the administrator’s', 'admin', {}],
    ['a wrong one', 'b'.repeat(64), {}],
    ['a short one', 'b', {}],
    ['one that is not a bearer’s', null, { authorization: 'Token x' }],
  ])('with a login like %s: 401 and nothing else', async (_name, as, headers) => {
    const answer = await api.call('POST', '/job/demo', { as, headers, body: 'x' });
    expect([answer.status, answer.text, answer.headers['www-authenticate']]).toEqual([401, '', undefined]);
  });

  test('another service’s token, a service that is not there: 401', async () => {
    const other = await api.service('other');
    expect((await api.call('POST', '/job/demo', { as: other })).status).toBe(401);
    expect((await api.call('POST', '/job/nobody', { as: token })).status).toBe(401);
  });

  test('large and odd bodies keep their bytes', async () => {
    const body = Buffer.alloc(300_000, '\u00ff', 'latin1');
    const run = await api.ledger.get(idOf(await submit({ body })));
    const key = `events/${createHash('sha256').update(body).digest('hex')}`;
    expect(run?.event).toEqual({ kind: 'object', key, size: 300_000 });
    expect((await api.objects.head(SYSTEM_BUCKET, key))?.size).toBe(300_000);
    const odd = await api.ledger.get(idOf(await submit({ body: Buffer.from([0, 0xff]) })));
    expect(odd?.event).toEqual({ kind: 'inline', encoding: 'base64', data: 'AP8=' });
  });

  test('repeats with a key are one run', async () => {
    const headers = { 'idempotency-key': 'once' };
    const ids = await Promise.all(
      Array.from({ length: 5 }, async () => idOf(await submit({ headers, body: 'x' }))),
    );
    expect(new Set(ids).size).toBe(1);
    const delegated = { 'x-delegated-job-id': 'delegated-1' };
    expect(idOf(await submit({ headers: delegated }))).toBe('delegated-1');
    expect((await submit({ headers: delegated })).status).toBe(201);
    const bad = await submit({ headers: { 'x-delegated-job-id': '../up' } });
    expect([bad.status, bad.headers['content-type']]).toEqual([400, 'text/plain; charset=utf-8']);
    const other = await api.call('POST', '/job/other', { as: await tokenOf('other'), headers: delegated });
    expect(other.status).toBe(409);
  });

  test('each record of an event is a run; the user is noted; the trace goes on', async () => {
    const record = {
      eventSource: 'minio:s3',
      requestParameters: { principalId: 'ada', sourceIPAddress: '::1' },
      s3: { object: { key: 'a' } },
    };
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const first = await api.ledger.get(
      idOf(await submit({ body: JSON.stringify({ Records: [record, record] }), headers: { traceparent } })),
    );
    expect(first?.user).toBe('ada');
    expect(first?.traceparent).toMatch(new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`));
    const { items } = await api.ledger.list({ service: 'demo', limit: 2 });
    expect(items.map((run) => run.user)).toEqual(['ada', 'ada']);
  });

  async function tokenOf(name: string): Promise<string> {
    return ((await api.call('GET', `/system/services/${name}`)).json() as { token: string }).token;
  }
});

describe('OSCAR §12.4, 6: jobs and logs', () => {
  test('a job goes through its phases, has a log, and can be deleted', async () => {
    const token = await api.service('phases');
    const id = idOf(await api.call('POST', '/job/phases', { as: token }));
    const jobs = async () =>
      (
        (await api.call('GET', '/system/logs/phases')).json() as {
          jobs: Record<string, Record<string, string>>;
        }
      ).jobs[id];
    const times = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
    expect(await jobs()).toEqual({ status: 'Suspended' });
    const noLog = await api.call('GET', `/system/logs/phases/${id}`);
    expect([noLog.status, noLog.text]).toEqual([404, '']);

    await api.ledger.transition({ id, from: ['queued'], to: 'starting' });
    expect(await jobs()).toEqual({ status: 'Pending', creation_time: expect.stringMatching(times) });
    await api.ledger.transition({ id, from: ['starting'], to: 'running' });
    expect(await jobs()).toEqual({
      status: 'Running',
      creation_time: expect.stringMatching(times),
      start_time: expect.stringMatching(times),
    });
    const empty = await api.call('GET', `/system/logs/phases/${id}`);
    expect([empty.status, empty.text, empty.headers['content-type']]).toEqual([
      200,
      '',
      'text/plain; charset=utf-8',
    ]);

    const writer = await api.logs.open({ service: 'phases', runId: id });
    await writer.write(Buffer.from('erste Zeile\nzweite\n'));
    await writer.close();
    expect((await api.call('GET', `/system/logs/phases/${id}`)).text).toBe('erste Zeile\nzweite\n');
    expect((await api.call('GET', `/system/logs/phases/${id}?timestamps=true`)).text).toMatch(
      /^\d{4}-\S+Z erste Zeile\n\d{4}-\S+Z zweite\n$/,
    );

    await api.ledger.transition({ id, from: ['running'], to: 'succeeded', set: { exit_code: 0 } });
    expect(await jobs()).toEqual({
      status: 'Succeeded',
      creation_time: expect.stringMatching(times),
      start_time: expect.stringMatching(times),
      finish_time: expect.stringMatching(times),
    });
    expect((await api.call('DELETE', `/system/logs/phases/${id}`)).status).toBe(204);
    expect(await jobs()).toBeUndefined();
    expect(await api.logs.read({ service: 'phases', runId: id }, { offset: 0, limit: 10 })).toBeUndefined();
    expect((await api.call('DELETE', `/system/logs/phases/${id}`)).status).toBe(404);
  });

  test('pages go through all, newest first', async () => {
    const token = await api.service('pages');
    const ids: string[] = [];
    for (let count = 0; count < 7; count += 1)
      ids.unshift(idOf(await api.call('POST', '/job/pages', { as: token })));
    const seen: string[] = [];
    let page = '';
    do {
      const answer = (
        await api.call('GET', `/system/logs/pages?page=${encodeURIComponent(page)}`)
      ).json() as { jobs: object; next_page?: string };
      expect(Object.keys(answer.jobs).length).toBeLessThanOrEqual(3);
      seen.push(...Object.keys(answer.jobs));
      page = answer.next_page ?? '';
    } while (page !== '');
    expect(seen).toEqual(ids);
    const wrong = await api.call('GET', '/system/logs/pages?page=garbage');
    expect(wrong).toMatchObject({ status: 400, text: 'The page is not one that a listing gave out.' });
  });

  test('deleting takes the succeeded ones, `all` the others too and cancels what is under way', async () => {
    const token = await api.service('rules');
    const make = async () => idOf(await api.call('POST', '/job/rules', { as: token }));
    const [good, bad, running, queued] = [await make(), await make(), await make(), await make()];
    await api.bring(good, 'succeeded');
    await api.bring(bad, 'failed');
    await api.bring(running, 'running');
    const left = async () =>
      Object.keys(
        ((await api.call('GET', '/system/logs/rules?page=')).json() as { jobs: object }).jobs,
      ).sort();

    expect((await api.call('DELETE', '/system/logs/rules')).status).toBe(204);
    expect(await left()).toEqual([bad, running, queued].sort());
    const cancels = await api.bus.workQueue({ durable: 'test-cancel', name: 'runs.cancel', maxInFlight: 10 });
    expect((await api.call('DELETE', '/system/logs/rules?all=true')).status).toBe(204);
    expect(await left()).toEqual([running, queued].sort());
    const deliveries = await cancels.fetch('rules', 10);
    expect(deliveries.map(({ message }) => (message.payload as { run_id: string }).run_id).sort()).toEqual(
      [running, queued].sort(),
    );
    for (const id of [running, queued])
      expect((await api.ledger.get(id))?.cancel_requested_at).toBeGreaterThan(0);
    await cancels.close();
  });

  test('a service or job that is not there is 404 without a body', async () => {
    const id = idOf(await submit());
    for (const [method, path] of [
      ['GET', '/system/logs/nobody'],
      ['DELETE', '/system/logs/nobody'],
      ['GET', '/system/logs/nobody/x'],
      ['DELETE', '/system/logs/demo/x'],
      ['GET', `/system/logs/other/${id}`],
      ['DELETE', `/system/logs/other/${id}`],
    ] as const) {
      const answer = await api.call(method, path);
      expect([path, answer.status, answer.text]).toEqual([path, 404, '']);
    }
    expect((await api.call('DELETE', '/system/logs/demo?all=maybe')).status).toBe(400);
  });

  test('a log of many pieces is one stream with and without times', async () => {
    const token = await api.service('long');
    const id = idOf(await api.call('POST', '/job/long', { as: token }));
    await api.bring(id, 'running');
    const lines = Array.from({ length: 30_000 }, (_, index) => `line ${index} ${'x'.repeat(60)}`);
    const writer = await api.logs.open({ service: 'long', runId: id });
    for (let at = 0; at < lines.length; at += 1000)
      await writer.write(Buffer.from(`${lines.slice(at, at + 1000).join('\n')}\n`));
    await writer.close();
    const whole = await api.call('GET', `/system/logs/long/${id}`);
    expect(whole.text === `${lines.join('\n')}\n`).toBe(true);
    const stamped = await api.call('GET', `/system/logs/long/${id}?timestamps=1`);
    expect(
      stamped.text
        .split('\n')
        .slice(0, -1)
        .every((line, index) => line.slice(25) === lines[index]),
    ).toBe(true);
  });
});

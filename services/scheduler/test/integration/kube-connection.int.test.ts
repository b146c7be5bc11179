import type { KubeConnection } from '@sluice/scheduler/adapters';
import { createMetrics } from '@sluice/shared/telemetry';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectTo, json, startFakeKube, status, type FakeKube } from '../fake-kube.ts';

describe('the connection to Kubernetes', () => {
  let fake: FakeKube;
  let connection: KubeConnection;

  beforeEach(async () => {
    fake = await startFakeKube((_request, response) => json(response, 201, {}));
    connection = await connectTo(fake);
  });
  afterEach(async () => {
    await connection.close();
    await fake.close();
  });

  /** Answers in turn; the last one stays. */
  function answers(...list: FakeKube['answer'][]): void {
    let turn = 0;
    fake.answer = (request, response) => {
      list[Math.min(turn, list.length - 1)]?.(request, response);
      turn += 1;
    };
  }

  test('makes an object, saying who it is', async () => {
    await expect(connection.create('jobs', { kind: 'Job' })).resolves.toBe(true);
    expect(fake.requests[0]).toMatchObject({
      method: 'POST',
      path: '/apis/batch/v1/namespaces/jobs/jobs',
      body: '{"kind":"Job"}',
      headers: { authorization: 'Bearer of-a-pod' },
    });
  });

  test('an object that is there already is no failure', async () => {
    answers((_request, response) => status(response, 409, 'already exists'));
    await expect(connection.create('pods', {})).resolves.toBe(false);
    expect(fake.requests).toHaveLength(1);
  });

  test.each([429, 500, 503, 401])('%s is tried again, as often as it takes within bounds', async (code) => {
    answers(
      (_request, response) => status(response, code, 'not now', { 'retry-after': '0' }),
      (_request, response) => status(response, code, 'not now', { 'retry-after': '0' }),
      (_request, response) => json(response, 201, {}),
    );
    await expect(connection.create('jobs', {})).resolves.toBe(true);
    expect(fake.requests).toHaveLength(3);
    answers((_request, response) => status(response, code, 'not now', { 'retry-after': '0' }));
    await expect(connection.create('jobs', {})).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('not now') as string,
      retryAfterSeconds: 0,
    });
    expect(fake.requests).toHaveLength(8);
  });

  test.each([
    [403, 'forbidden', 'exceeded quota: jobs, requested: 1, used: 1, limited: 1'],
    [422, 'invalid_input', 'Job is invalid'],
    [400, 'invalid_input', 'admission webhook denied the request'],
  ])("%s is final, with the server's sentence", async (code, word, sentence) => {
    answers((_request, response) => status(response, code, sentence));
    await expect(connection.create('jobs', {})).rejects.toMatchObject({
      code: word,
      retry: 'never',
      message: `Kubernetes refused: ${sentence}`,
    });
    expect(fake.requests).toHaveLength(1);
  });

  test('a creation whose answer never came is not repeated as another', async () => {
    answers(
      () => undefined,
      (_request, response) => status(response, 409, 'already exists'),
    );
    await expect(connection.create('jobs', {})).resolves.toBe(false);
    expect(fake.requests).toHaveLength(2);
  });

  test('each try is counted by what was asked for and what was answered', async () => {
    const metrics = createMetrics();
    const counted = await connectTo(fake, { metrics });
    answers(
      (_request, response) => status(response, 503, 'not now', { 'retry-after': '0' }),
      (_request, response) => json(response, 201, {}),
      (_request, response) => status(response, 404, 'not found'),
      (_request, response) => response.destroy(),
    );
    await counted.create('jobs', {});
    await counted.read('pods', 'x');
    await expect(counted.check()).rejects.toMatchObject({ code: 'unavailable' });
    await counted.close();
    const lines = (await metrics.metrics()).split('\n').filter((line) => line.startsWith('sluice_'));
    expect(lines).toEqual([
      'sluice_kubernetes_requests_total{verb="create",resource="jobs",code="503"} 1',
      'sluice_kubernetes_requests_total{verb="create",resource="jobs",code="201"} 1',
      'sluice_kubernetes_requests_total{verb="get",resource="pods",code="404"} 1',
      'sluice_kubernetes_requests_total{verb="get",resource="readyz",code="none"} 1',
    ]);
  });

  test('a server that cuts connections is unavailable', async () => {
    answers((_request, response) => response.destroy());
    await expect(connection.create('jobs', {})).rejects.toMatchObject({ code: 'unavailable' });
    await expect(connection.check()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('deleting what is not there is fine, and a grace is passed on', async () => {
    answers((_request, response) => status(response, 404, 'not found'));
    await connection.remove('pods', 'a/b', 5);
    expect(fake.requests[0]).toMatchObject({
      method: 'DELETE',
      path: '/api/v1/namespaces/jobs/pods/a%2Fb',
    });
    expect(JSON.parse(fake.requests[0]?.body ?? '')).toMatchObject({
      propagationPolicy: 'Background',
      gracePeriodSeconds: 5,
    });
  });

  test('an answer that is no JSON is a server in trouble', async () => {
    answers((_request, response) => response.writeHead(200).end('<html>'));
    await expect(connection.read('jobs', 'x')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('no more requests than allowed are under way at once', async () => {
    const narrow = await connectTo(fake, { inFlight: 2, timeoutMs: 5000 });
    const held: (() => void)[] = [];
    let most = 0;
    fake.answer = (_request, response) => {
      held.push(() => json(response, 201, {}));
      most = Math.max(most, held.length);
      // Answered once two are there, and a third has had its chance to come.
      if (held.length === 2) setImmediate(() => held.splice(0).forEach((answer) => answer()));
    };
    await Promise.all(Array.from({ length: 20 }, () => narrow.create('jobs', {})));
    expect(most).toBe(2);
    await narrow.close();
  });
});

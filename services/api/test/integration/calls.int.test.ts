import { runnerResultHeader } from '@sluice/shared/contracts';
import { eventually } from '@sluice/shared/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { echo, startCalls, type CallsFixture } from './calls-fixture.ts';
import { fakeRunner, sayRunners, type Invocation } from './fake-runner.ts';
import type { Answer, Call } from './fixture.ts';

let calls: CallsFixture;
beforeAll(async () => {
  calls = await startCalls({ SLUICE_CALL_QUEUE: '60', SLUICE_CALL_WAIT: '2', SLUICE_CALL_TIMEOUT: '7' });
});
afterEach(async () => calls.endRunners());
afterAll(async () => calls.api.close());

describe('POST /run', () => {
  test('the answer is the runner’s, with the caller’s content type', async () => {
    const service = await calls.service({ sluice: { timeout: 3 } });
    const [runner] = await service.runners(echo);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const answer = await service.call(
      { body: 'a,b\n', headers: { 'content-type': 'text/csv; header=absent', 'x-own': '1', traceparent } },
      '?a=1&b=%20',
    );
    expect([answer.status, answer.text]).toEqual([200, 'a,b\n']);
    expect(answer.headers['content-type']).toBe('text/csv; header=absent');
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    expect(answer.headers['x-duration-seconds']).toMatch(/^\d+\.\d{6}$/);
    const call = runner?.invocations[0]?.call;
    expect(answer.headers['x-call-id']).toBe(call?.call_id);
    expect(call).toMatchObject({ method: 'POST', path: '/', query: 'a=1&b=%20', timeout_ms: 3000 });
    expect(call?.headers).toMatchObject({ 'content-type': 'text/csv; header=absent', 'x-own': '1' });
    expect(call?.headers).not.toHaveProperty('authorization');
    expect(call?.traceparent.slice(0, 36)).toBe(traceparent.slice(0, 36));
  });

  test.each<[string, Call, string]>([
    ['base64', { body: 'aGVsbG8=' }, 'aGVsbG8='],
    ['JSON', { body: '{"a":1}', headers: { 'content-type': 'application/json' } }, '{"a":1}'],
    ['a form', { body: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }, 'a=1'],
    ['nothing', {}, ''],
    ['no bytes', { body: '', headers: { 'content-length': '0' } }, ''],
    ['binary', { body: Buffer.from([0, 255, 10, 13]) }, '\u0000\u00ff\n\r'],
    ['chunks', { body: 'abc', headers: { 'transfer-encoding': 'chunked' } }, 'abc'],
    ['a bad type', { body: 'x', headers: { 'content-type': 'no type at all;;' } }, 'x'],
  ])('a body of %s arrives as it is', async (_name, call, text) => {
    const service = await calls.service();
    const [runner] = await service.runners(echo);
    const answer = await service.call(call);
    expect(answer.status).toBe(200);
    expect(runner?.invocations[0]?.body.toString('latin1')).toBe(text);
    expect(answer.headers['content-type']).toBe(
      call.headers?.['content-type'] ?? 'text/plain; charset=utf-8',
    );
  });

  test.each([
    ['failed', 500, 500, undefined],
    ['timed_out', 408, 408, undefined],
    ['unavailable', 503, 503, '9'],
    ['cancelled', 500, 502, undefined],
  ])('%s: the runner’s text with the status of OSCAR', async (result, status, wanted, retryAfter) => {
    const service = await calls.service();
    await service.runners(({ response }) => {
      const again = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
      response.writeHead(status, { [runnerResultHeader]: result, ...again }).end('exit status 3\nwhy\n');
    });
    const answer = await service.call({ headers: { 'content-type': 'application/json' }, body: '{}' });
    expect([answer.status, answer.text]).toEqual([wanted, 'exit status 3\nwhy\n']);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect(answer.headers['retry-after']).toBe(retryAfter);
  });

  test('no token, another service’s token, the administrator: a bare 401', async () => {
    const [service, other] = [await calls.service(), await calls.service()];
    for (const as of [null, 'admin', other.token]) {
      const answer = await service.call({ as, body: 'x' });
      expect([answer.status, answer.text]).toEqual([401, '']);
    }
  });

  test('101 headers are refused, and a head of nearly 16 KiB arrives', async () => {
    const service = await calls.service();
    const [runner] = await service.runners(echo);
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`x-h${index}`, '1']));
    const answer = await service.call({ headers: many });
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('100 headers')]);
    const long = '"\\'.repeat(7000);
    expect((await service.call({ headers: { 'x-long': long } })).status).toBe(200);
    expect(runner?.invocations[0]?.call.headers['x-long']).toBe(long);
  });

  test('a body over the limit is refused before a runner hears of it', async () => {
    const service = await calls.service();
    const [runner] = await service.runners(echo);
    expect((await service.call({ body: Buffer.alloc(10_485_761) })).status).toBe(413);
    expect(runner?.invocations).toEqual([]);
  });
});

describe('which runner', () => {
  test('50 callers over 2 runners: none lost, started in the order of arrival', async () => {
    const service = await calls.service();
    const started: string[] = [];
    const manner = ({ body, succeed }: Invocation): void => {
      started.push(body.toString());
      setImmediate(succeed, body.toString());
    };
    const gate = await fakeRunner('gate', () => undefined);
    calls.started.push(gate);
    sayRunners(calls.api.bus, service, [gate.entry]);
    const held = service.call({ body: 'held' });
    await eventually('the only runner is busy', () => gate.invocations.length === 1);
    const answers: Promise<Answer>[] = [];
    for (let index = 0; index < 50; index += 1) {
      answers.push(service.call({ body: String(index) }));
      await eventually('it waits', () => service.demand()?.waiting === index + 1);
    }
    await service.runners(manner, manner);
    const texts = (await Promise.all(answers)).map(({ status, text }) => `${status} ${text}`);
    expect(texts).toEqual(answers.map((_, index) => `200 ${index}`));
    // Two at a time: a call may be overtaken by its neighbour on the way, by no other.
    const places = started.map(Number);
    expect(places.toSorted((a, b) => a - b)).toEqual(answers.map((_, index) => index));
    for (const [place, index] of places.entries()) expect(Math.abs(place - index)).toBeLessThanOrEqual(1);
    gate.invocations[0]?.succeed('done');
    expect((await held).text).toBe('done');
    await eventually('nothing is asked for any more', () => {
      const last = service.demand();
      return last?.waiting === 0 && last.active === 0;
    });
  });

  test('two apis share one runner: whoever is refused comes back, none is lost or performed twice', async () => {
    const service = await calls.service();
    const second = await calls.api.second();
    try {
      const [runner] = await service.runners(({ body, succeed }) => {
        setImmediate(succeed, body.toString());
      });
      const bodies = Array.from({ length: 40 }, (_, index) => String(index));
      const answers = await Promise.all(
        bodies.map((body, index) =>
          (index % 2 === 0 ? calls.api : second).call('POST', `/run/${service.name}`, {
            as: service.token,
            body,
          }),
        ),
      );
      expect(answers.map(({ status, text }) => `${status} ${text}`)).toEqual(
        bodies.map((body) => `200 ${body}`),
      );
      expect(runner?.invocations).toHaveLength(40);
      expect(runner?.refused()).toBeGreaterThan(0);
      expect(service.callers().size).toBe(2);
    } finally {
      await second.close();
    }
  });

  test('draining, unreachable, not ours: the next runner gets the call', async () => {
    const service = await calls.service();
    const [draining, gone, works] = await service.runners(
      ({ response }) => void response.writeHead(503).end('draining\n'),
      echo,
      echo,
    );
    await gone?.close();
    expect((await service.call({ body: 'x' })).text).toBe('x');
    expect((await service.call({ body: 'y' })).text).toBe('y');
    expect([draining?.invocations.length, works?.invocations.length]).toEqual([1, 2]);
    const stranger = {
      ...(works?.entry ?? draining?.entry),
      id: 'stranger',
      state: 'ready' as const,
      service_version: 9,
    };
    sayRunners(calls.api.bus, service, [stranger, ...(works === undefined ? [] : [works.entry])]);
    expect((await service.call({ body: 'z' })).text).toBe('z');
  });

  test('a runner that hangs up after it had the call: 502, and no second try', async () => {
    const service = await calls.service();
    const hangUp = ({ response }: Invocation): void => void response.destroy();
    const made = await service.runners(hangUp, hangUp);
    const answer = await service.call({ body: 'x' });
    expect([answer.status, answer.text]).toEqual([502, expect.stringContaining('not tried again')]);
    expect(made.flatMap(({ invocations }) => invocations)).toHaveLength(1);
  });

  test('a runner that hangs up in the middle of its answer breaks the caller’s connection', async () => {
    const service = await calls.service();
    await service.runners(({ response }) => {
      response.writeHead(200, { [runnerResultHeader]: 'succeeded', 'content-length': '100' });
      response.write('half', () => response.destroy());
    });
    await expect(service.call({ body: 'x' })).rejects.toThrow(/aborted|hang up|reset/);
  });

  test('no runner within the time: 503; a full queue: 429', async () => {
    const service = await calls.service();
    const waiting = Array.from({ length: 60 }, () => service.call({ body: 'x' }));
    await eventually('the queue is full', () => service.demand()?.waiting === 60);
    const refused = await service.call({ body: 'x' });
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '5']);
    const answers = await Promise.all(waiting);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(answers[0]?.headers['retry-after']).toBe('5');
    expect(answers[0]?.text).toContain('within 2 s');
    await eventually('nothing is asked for any more', () => service.demand()?.waiting === 0);
  });

  test('runners that fail to start: 503 at once with the reason, and runners are asked for all the same', async () => {
    const service = await calls.service();
    const waiting = service.call({ body: 'x' });
    await eventually('it waits', () => service.demand()?.waiting === 1);
    sayRunners(calls.api.bus, service, [], { state: 'failed', reason: 'There is no image "nowhere/none".' });
    for (const answer of [await waiting, await service.call({ body: 'x' })]) {
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '30']);
      expect(answer.text).toContain('There is no image "nowhere/none".');
    }
    await eventually('a runner is asked for', () => service.demand()?.waiting === 1);
    await eventually('and then no longer', () => service.demand()?.waiting === 0, 10_000);
  });

  test('a stopped service: 503 that says how to start it', async () => {
    const service = await calls.service({ annotations: { 'oscar.grycap.io/stopped': 'true' } });
    await service.runners(echo);
    const answer = await service.call({ body: 'x' });
    expect([answer.status, answer.text]).toEqual([
      503,
      `The service "${service.name}" is stopped. Start it: POST /system/services/${service.name}/start.`,
    ]);
  });
});

test('calls are counted by how they ended', async () => {
  const { text } = await calls.api.call('GET', '/metrics');
  for (const result of [
    'succeeded',
    'failed',
    'timed_out',
    'unavailable',
    'cancelled',
    'lost',
    'queue_full',
    'no_runner',
  ])
    expect(text).toContain(`sluice_api_calls_total{result="${result}"}`);
  expect(text).toMatch(/^sluice_api_calls_waiting 0$/m);
  expect(text).toMatch(/^sluice_api_calls_active 0$/m);
});

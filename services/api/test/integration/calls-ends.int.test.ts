import { connect } from 'node:net';
import { Secret } from '@sluice/shared/config';
import { runnerResultHeader, type RunnerDemand } from '@sluice/shared/contracts';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createRunnerClient } from '../../src/adapters/runner-client.ts';
import { createKnownRunners } from '../../src/app/calls/known-runners.ts';
import { echo, startCalls, type CalledService, type CallsFixture } from './calls-fixture.ts';
import { fakeRunner, runnerKey, sayRunners } from './fake-runner.ts';
import { startFixture } from './fixture.ts';

let calls: CallsFixture;
beforeAll(async () => {
  calls = await startCalls();
});
afterEach(async () => calls.endRunners());
afterAll(async () => calls.api.close());

describe('callers that go', () => {
  const begin = (service: CalledService): { go(): void } => {
    const socket = connect(calls.api.api.address().port, '127.0.0.1');
    socket.on('error', () => undefined);
    const head = `POST /run/${service.name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${service.token}\r\n`;
    socket.write(`${head}Content-Length: 1\r\n\r\nx`);
    return { go: () => socket.destroy() };
  };

  test('the runner’s request ends with the caller’s, and the runner is used again', async () => {
    const service = await calls.service();
    const [runner] = await service.runners(({ body, succeed, call }) => {
      if (call.query !== '') succeed(body.toString());
    });
    const caller = begin(service);
    const invocation = await eventually('the runner has it', () => runner?.invocations[0]);
    caller.go();
    await invocation.closed;
    expect((await service.call({ body: 'next' }, '?answer')).text).toBe('next');
  });

  test('who waits leaves the queue', async () => {
    const service = await calls.service();
    const caller = begin(service);
    await eventually('it waits', () => service.demand()?.waiting === 1);
    caller.go();
    await eventually('it waits no longer', () => service.demand()?.waiting === 0, 1500);
    const [runner] = await service.runners(echo);
    expect((await service.call({ body: 'next' })).text).toBe('next');
    expect(runner?.invocations).toHaveLength(1);
  });
});

test('a huge answer streams: a caller that does not read stops the runner, and memory stays', async () => {
  const service = await calls.service();
  const piece = Buffer.alloc(1_048_576, 'x');
  const total = 300;
  let sent = 0;
  await service.runners(({ response }) => {
    response.writeHead(200, { [runnerResultHeader]: 'succeeded' });
    const more = (): void => {
      while (sent < total) {
        sent += 1;
        if (!response.write(piece)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  });
  const socket = connect(calls.api.api.address().port, '127.0.0.1');
  const head = `POST /run/${service.name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`;
  socket.write(`${head}Authorization: Bearer ${service.token}\r\nContent-Length: 0\r\n\r\n`);
  let before = 0;
  let same = 0;
  await eventually('the runner is stopped by the caller that does not read', () => {
    same = sent > 0 && sent === before ? same + 1 : 0;
    before = sent;
    return same > 20;
  });
  expect(sent).toBeLessThan(40);
  let received = 0;
  socket.on('data', (chunk) => {
    received += chunk.byteLength;
  });
  await eventually('all of it arrives', () => received > total * piece.byteLength, 20_000);
  socket.destroy();
});

test('logs of all runners are merged by time, and one that is silent does not matter', async () => {
  const service = await calls.service();
  const [late, early, gone] = [
    await fakeRunner('late', echo, 2),
    await fakeRunner('early', echo),
    await fakeRunner('gone', echo),
  ];
  await gone.close();
  calls.started.push(late, early);
  const client = createRunnerClient({ key: new Secret(runnerKey) });
  const known = createKnownRunners({
    bus: calls.api.bus,
    client,
    directory: { get: () => undefined, count: () => 0 },
    caller: 'test',
    log: silentLogger(),
  });
  await known.start();
  const entries = [late.entry, early.entry, { ...gone.entry, state: 'ended' as const }];
  sayRunners(calls.api.bus, service, entries);
  expect(known.runnersOf(service)?.runners).toEqual(entries);
  expect(known.runnersOf({ ...service, uid: 'of an earlier life' })).toBeUndefined();
  expect(await known.logs(service, 3)).toEqual({
    entries: [
      { at: 1, message: 'of early' },
      { at: 2, message: 'of late' },
    ],
    asked: 3,
    silent: 1,
  });
  await known.stop();
  await client.close();
});

test('a server that stops answers those that wait, and lets runners end what they have', async () => {
  const own = await startFixture();
  const token = await own.service('stopping');
  const uid = (await own.definitions.get('stopping'))?.uid ?? '';
  const runner = await fakeRunner('stopping-r', () => undefined);
  calls.started.push(runner);
  sayRunners(own.bus, { name: 'stopping', uid }, [runner.entry]);
  const said: RunnerDemand[] = [];
  await own.bus.listen(['runners.demand'], ({ payload }) => {
    said.push(payload as RunnerDemand);
  });
  const active = own.call('POST', '/run/stopping', { as: token, body: 'a' });
  const invocation = await eventually('one is active', () => runner.invocations[0]);
  const waiting = own.call('POST', '/run/stopping', { as: token, body: 'b' });
  await eventually('one waits', () => said.at(-1)?.waiting === 1);
  const stopped = own.api.stop();
  const refused = await waiting;
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, '5']);
  invocation.succeed('done');
  expect((await active).text).toBe('done');
  await stopped;
  expect(said.at(-1)).toMatchObject({ waiting: 0, active: 0 });
  await own.close();
});

test('a server that stops tells callers whose runner does not come to an end', async () => {
  const own = await startFixture();
  const token = await own.service('endless');
  const uid = (await own.definitions.get('endless'))?.uid ?? '';
  const runner = await fakeRunner('endless-r', () => undefined);
  calls.started.push(runner);
  sayRunners(own.bus, { name: 'endless', uid }, [runner.entry]);
  const call = own.call('POST', '/run/endless', { as: token, body: 'a' });
  const invocation = await eventually('the runner has it', () => runner.invocations[0]);
  const stopped = own.api.stop();
  const answer = await call;
  expect([answer.status, answer.headers['retry-after']]).toEqual([503, '5']);
  expect(answer.text).toContain('The server was stopped during the call');
  await invocation.closed;
  await stopped;
  await own.close();
});

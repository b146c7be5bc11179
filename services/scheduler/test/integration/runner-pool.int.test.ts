import { runnerToken } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RunnerHost } from '../../src/index.ts';
import { openProcessRunners } from '../local-runners.ts';
import type { RunnerAnswer } from '../runner-calls.ts';
import { openRunnerWorld, type RunnerWorld } from '../runner-world.ts';

// Real processes behind real HTTP; the test stands where the api is.
let runners: Awaited<ReturnType<typeof openProcessRunners>>;
let worlds: RunnerWorld[];

beforeEach(async () => {
  worlds = [];
  runners = await openProcessRunners(4);
});
afterEach(async () => {
  for (const world of worlds) await world.close();
  await runners.close();
});

async function open(
  options: Parameters<typeof openRunnerWorld>[1] = {},
  host: RunnerHost = runners.host,
): Promise<RunnerWorld> {
  const world = await openRunnerWorld({ host, key: runners.key }, options);
  worlds.push(world);
  return world;
}
const scale = (min_scale: number, max_scale = 0) => ({ synchronous: { min_scale, max_scale } });
const stopped = { annotations: { 'oscar.grycap.io/stopped': 'true' } };

test('runners come with demand, as many as may be, and go without', async () => {
  const world = await open({ idleMs: 200 });
  const service = await world.define({ script: 'echo hello\n', ...scale(0, 3) });
  world.demand(service, 1);
  await world.settled(service, 1);
  expect(await world.call(service)).toMatchObject({ status: 200, text: 'hello\n\n' });
  world.demand(service, 9, 1);
  await world.settled(service, 3);
  expect(world.state(service)).toMatchObject({ state: 'ready', desired: 3, limit: 3 });
  world.demand(service, 0);
  await world.settled(service, 0);
  expect(world.state(service)).toMatchObject({ state: 'ready', desired: 0 });
  await eventually('all to be ended', async () => (await runners.host.runners()).length === 0);
});

test('what a caller asked for counts only for some seconds', async () => {
  const world = await open({ idleMs: 0 });
  const service = await world.define({});
  world.demand(service, 2);
  await world.settled(service, 2);
  await eventually('the runners to go', () => world.ready(service).length === 0, 15_000);
});

test('a runner that had to end with a call is replaced, and nothing is said to be wrong', async () => {
  let exit: Parameters<RunnerHost['onExit']>[0] = () => undefined;
  const host: RunnerHost = {
    ...runners.host,
    onExit: (listener) => {
      exit = listener;
    },
  };
  const world = await open({ idleMs: 0 }, host);
  const service = await world.define({ script: 'echo hello\n', ...scale(1) });
  const [first] = await world.settled(service, 1);
  await runners.host.stop(first?.id ?? '', 0);
  exit(first?.id ?? '', 'a call ran too long', true);
  expect(world.state(service)).not.toMatchObject({ state: 'failed' });
  await eventually('another one', () => {
    const [now] = world.ready(service);
    return now !== undefined && now.id !== first?.id;
  });
});

test('min_scale needs no demand; a runner is there again after its end', async () => {
  let exit: (id: string, reason: string) => void = () => undefined;
  const host: RunnerHost = {
    ...runners.host,
    onExit: (listener) => {
      exit = listener;
    },
  };
  const world = await open({ idleMs: 0 }, host);
  const service = await world.define({ script: 'echo hello\n', ...scale(1) });
  const [first] = await world.settled(service, 1);
  await runners.host.stop(first?.id ?? '', 0);
  exit(first?.id ?? '', 'its container died');
  expect(world.state(service)).toMatchObject({ state: 'failed', reason: 'its container died' });
  const [second] = await world.settled(service, 1);
  expect(second?.id).not.toBe(first?.id);
  expect(await world.call(service)).toMatchObject({ status: 200 });
  expect(world.state(service)).toMatchObject({ state: 'ready', reason: '' });
});

test('a stopped service has no runners, and has them again when it is started', async () => {
  const world = await open();
  const service = await world.define(scale(1));
  await world.settled(service, 1);
  const off = await world.update(service, stopped);
  await eventually('it to be stopped', () => world.state(service)?.state === 'stopped');
  world.demand(service, 3);
  await eventually('all to be ended', () =>
    world.state(service)?.runners.every((one) => one.state === 'ended'),
  );
  expect(await runners.host.runners()).toEqual([]);
  await world.update(off, { annotations: {} });
  await world.settled(service, 3);
});

test('a deleted service has none', async () => {
  const world = await open();
  const service = await world.define(scale(2));
  await world.settled(service, 2);
  await world.remove(service);
  await eventually('all to be ended', async () => (await runners.host.runners()).length === 0);
  expect(world.ready(service)).toEqual([]);
});

test('a new version under load loses no call', async () => {
  const world = await open();
  const service = await world.define({ script: 'echo 1\n', ...scale(2) });
  await world.settled(service, 2);
  const answers: RunnerAnswer[] = [];
  const done = new AbortController();
  const load = Array.from({ length: 4 }, async () => {
    while (!done.signal.aborted) answers.push(await world.call(service));
  });
  await eventually('calls', () => answers.length > 5);
  let version = service;
  for (let round = 2; round <= 4; round += 1) {
    version = await world.update(version, { script: `echo ${round}\n` });
    await eventually('the new version', () => answers.at(-1)?.text.startsWith(String(round)), 10_000);
  }
  done.abort();
  await Promise.all(load);
  expect(answers.filter((one) => one.status !== 200)).toEqual([]);
  await eventually('only the newest', () => {
    const ready = world.ready(service);
    return ready.length === 2 && ready.every((one) => one.service_version === version.version);
  });
});

test('a start that fails is told, and tried again', async () => {
  let failures = 2;
  const host: RunnerHost = {
    ...runners.host,
    start: (plan, reservation) => {
      failures -= 1;
      return failures >= 0
        ? Promise.reject(new AppError('unavailable', 'image not found'))
        : runners.host.start(plan, reservation);
    },
  };
  const world = await open({}, host);
  const service = await world.define(scale(2));
  await eventually('it to fail', () => world.state(service)?.state === 'failed');
  expect(world.state(service)?.reason).toBe('image not found');
  await eventually('runners', () => world.ready(service).length === 2, 15_000);
  expect(world.state(service)?.state).toBe('ready');
});

test('runs get the room of runners that nobody needs, those of min_scale last', async () => {
  const world = await open({ cpuMillis: 1000 });
  const idle = await world.define({ name: 'idle', cpu: '0.5', ...scale(0) });
  const kept = await world.define({ name: 'kept', cpu: '0.3', ...scale(1) });
  const runs = await world.define({ name: 'runs', cpu: '0.6' });
  world.demand(idle, 1);
  await world.settled(idle, 1);
  await world.settled(kept, 1);
  world.demand(idle, 0);
  const id = await world.run(runs);
  await eventually('the run to succeed', async () => (await world.runState(id)) === 'succeeded', 10_000);
  expect(world.ready(idle)).toEqual([]);
  expect(world.ready(kept).length).toBe(1);
});

test('idle runners of min_scale make way for runs and calls, and come back', async () => {
  await runners.close();
  runners = await openProcessRunners(32);
  const world = await open({ cpuMillis: 1000 });
  const kept = await Promise.all(
    Array.from({ length: 12 }, (_, n) => world.define({ name: `kept-${n}`, ...scale(1) })),
  );
  const all = (): number => kept.reduce((sum, one) => sum + world.ready(one).length, 0);
  await eventually('the machine to be full', () => all() === 10, 10_000);
  const runs = await world.define({ name: 'runs', cpu: '0.5' });
  const id = await world.run(runs);
  await eventually('the run to succeed', async () => (await world.runState(id)) === 'succeeded', 10_000);
  const late = await world.define({ name: 'late', script: 'echo late\n' });
  world.demand(late, 1);
  expect(await world.call(late)).toMatchObject({ status: 200, text: 'late\n\n' });
  world.demand(late, 0);
  await eventually('those of min_scale to be back', () => all() === 9, 20_000);
});

test('a service that has no runner gets one of the service that has the most', async () => {
  const world = await open();
  const greedy = await world.define({ name: 'greedy' });
  world.demand(greedy, 10);
  await world.settled(greedy, 4);
  const modest = await world.define({ name: 'modest' });
  world.demand(modest, 1);
  await world.settled(modest, 1);
  expect(world.ready(greedy).length).toBe(3);
});

test('the state is said when it is asked for, and again every few seconds', async () => {
  const world = await open();
  const service = await world.define({});
  world.ask();
  await eventually('word of it', () => world.state(service)?.state === 'ready');
  world.demand(service, 1);
  await world.settled(service, 1);
  const said = world.said(service);
  await eventually('word of it again', () => world.said(service) > said, 10_000);
});

test('stopping the scheduler lets a call end and leaves no runner', async () => {
  const world = await open();
  const service = await world.define({ script: 'sleep 1; echo done\n', ...scale(1) });
  const [runner] = await world.settled(service, 1);
  const call = world.call(service);
  const health = async (): Promise<boolean> => {
    const authorization = `Bearer ${runnerToken(runners.key, runner?.id ?? '')}`;
    const response = await fetch(`${runner?.url}/health`, { headers: { authorization } });
    return ((await response.json()) as { busy: boolean }).busy;
  };
  await eventually('the call to be in hand', health);
  await world.scheduler.stop();
  expect(await call).toMatchObject({ status: 200, text: 'done\n\n' });
  expect(await runners.host.runners()).toEqual([]);
});

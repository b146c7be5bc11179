import { doubt, fault, fine } from '@sluice/shared/checks';
import type { ComponentCheck, ComponentChecks } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, expect, it } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

interface Report {
  readonly ok: boolean;
  readonly checks: readonly ComponentCheck[];
  readonly processes: readonly {
    readonly component: string;
    readonly instance: string;
    readonly started_at: string;
    readonly checks: readonly ComponentCheck[];
  }[];
}

let api: Fixture | undefined;
afterEach(async () => {
  await api?.close();
  api = undefined;
});

async function read(fixture: Fixture): Promise<Report> {
  const answer = await fixture.call('GET', '/system/checks');
  expect(answer.status).toBe(200);
  return answer.json() as Report;
}

/** An api of a distributed installation, whose clock stands at what `time` says. */
async function startDistributed(time: { ms: number }, own: () => ComponentCheck[]): Promise<Fixture> {
  api = await startFixture({
    deps: () => ({
      clock: { ...systemClock, monotonic: () => systemClock.monotonic() + time.ms },
      checks: {
        self: {
          component: 'api',
          instance: 'api-1',
          version: '1.2.3',
          startedAt: 1_767_323_045_678,
          look: async () => own(),
        },
        expected: ['api', 'scheduler', 'storage-events'],
      },
    }),
  });
  return api;
}

function say(fixture: Fixture, word: Partial<ComponentChecks>): void {
  const payload = {
    component: 'scheduler',
    instance: 's-1',
    version: '1.2.3',
    started_at: 0,
    checks: [fine('nats', 'well')],
    ...word,
  };
  fixture.bus.hint({ name: 'component.checks', payload });
}

it('without more the api tells whether what it works with answers', async () => {
  api = await startFixture();
  const report = await read(api);
  expect(report.ok).toBe(true);
  expect(report.checks.map(({ name, ok }) => [name, ok])).toEqual([
    ['api', true],
    ['versions', true],
    ['dead letters', true],
  ]);
  expect(report.processes).toMatchObject([
    { component: 'api', checks: [{ name: 'bus' }, { name: 'run ledger' }, { name: 'object store' }] },
  ]);
});

it('is for the administrator', async () => {
  api = await startFixture();
  const token = await api.service('demo');
  expect((await api.call('GET', '/system/checks', { as: null })).status).toBe(401);
  expect((await api.call('GET', '/system/checks', { as: token })).status).toBe(401);
});

it('looks afresh for itself, and gives what other processes said last for 30 s', async () => {
  const time = { ms: 0 };
  let own = [fine('nats', 'well')];
  const fixture = await startDistributed(time, () => own);
  const alone = await read(fixture);
  expect(alone.ok).toBe(false);
  expect(alone.checks.filter(({ ok }) => !ok)).toEqual([
    {
      name: 'scheduler',
      ok: false,
      severity: 'error',
      message: 'No scheduler has been heard for 30 s.',
      mend: expect.stringContaining('SLUICE_NAMESPACE') as string,
    },
    expect.objectContaining({ name: 'storage-events', ok: false }),
  ]);

  say(fixture, {});
  say(fixture, { checks: [doubt('nats', 'nearly full', 'give it more')] });
  say(fixture, { component: 'storage-events', instance: 'e-1', version: '1.2.2' });
  // Its own word comes back to it.
  say(fixture, { component: 'api', instance: 'api-1', checks: [fault('old', 'old', 'old')] });
  await eventually('all are heard', async () => (await read(fixture)).processes.length === 3);
  own = [doubt('redis', 'x', 'y')];
  const whole = await read(fixture);
  expect(whole.ok).toBe(true);
  expect(whole.processes).toMatchObject([
    { component: 'api', started_at: '2026-01-02T03:04:05.678Z', checks: [{ name: 'redis' }] },
    { component: 'scheduler', checks: [{ name: 'nats', ok: false, mend: 'give it more' }] },
    { component: 'storage-events' },
  ]);
  expect(whole.checks.find(({ name }) => name === 'versions')).toMatchObject({
    ok: false,
    severity: 'warning',
    message: 'Processes of different versions: 1.2.2 (storage-events), 1.2.3 (api, scheduler).',
  });

  time.ms = 30_001;
  expect((await read(fixture)).processes).toMatchObject([{ component: 'api' }]);
});

it('keeps the last 200 processes, whoever speaks', async () => {
  const fixture = await startDistributed({ ms: 0 }, () => []);
  for (let i = 0; i < 300; i += 1) say(fixture, { instance: `i-${i}`, component: 'x' });
  say(fixture, {});
  await eventually('the last is heard', async () =>
    (await read(fixture)).processes.some(({ component }) => component === 'scheduler'),
  );
  expect((await read(fixture)).processes).toHaveLength(201);
});

it('an error anywhere makes the whole not ok, dead letters a warning', async () => {
  const fixture = await startDistributed({ ms: 0 }, () => []);
  say(fixture, { checks: [fault('nats', 'gone', 'start it')] });
  say(fixture, { component: 'storage-events', instance: 'e' });
  await eventually('both are heard', async () => (await read(fixture)).processes.length === 3);
  await fixture.bus.deadLetters.put(
    { id: 'a', name: 'runs.start', key: 's', payload: { run_id: 'a', service: 's', attempt: 1 } },
    { consumer: 'c', reason: 'r' },
  );
  const report = await read(fixture);
  expect(report.ok).toBe(false);
  expect(report.checks.filter(({ ok }) => !ok)).toMatchObject([
    { name: 'dead letters', severity: 'warning', message: '1 message could not be processed.' },
  ]);
});

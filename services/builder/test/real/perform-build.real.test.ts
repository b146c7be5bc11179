import { AppError } from '@sluice/shared/errors';
import type { RunLogs } from '@sluice/shared/stores';
import { createMetrics, noTracer, silentLogger } from '@sluice/shared/telemetry';
import { fakeClock } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBuildMetrics } from '../../src/app/metrics.ts';
import { performBuild, type PerformDeps } from '../../src/app/perform-build.ts';
import { createOne, openStore, roomy, type StoreWorld } from './store-fixture.ts';

const clock = fakeClock();
let world: StoreWorld;

beforeEach(async () => {
  world = await openStore(clock);
});
afterEach(async () => world.close());

const goneLogs: RunLogs = {
  open: () => Promise.reject(new AppError('unavailable', 'The store of logs is away.')),
  read: () => Promise.resolve(undefined),
  remove: () => Promise.resolve(),
};

/** With everything that a build needs out of reach, but for the store of tickets. */
function depsOf(logs: RunLogs, said: string[]): PerformDeps {
  const reached = (): never => {
    throw new Error('the build went on');
  };
  return {
    store: world.store,
    builder: { build: reached, check: reached, version: reached },
    registries: { of: reached, logins: reached },
    environmentOf: reached,
    logs,
    uses: { note: reached },
    limits: roomy,
    timeoutMs: 60_000,
    layerCache: false,
    say: (change) => {
      said.push(change.state);
      return Promise.resolve();
    },
    metrics: createBuildMetrics(createMetrics()),
    tracer: noTracer,
    clock,
    log: silentLogger(),
  };
}

const never = new AbortController().signal;

test('a build that ends its workers again and again is ended itself', async () => {
  const { store } = world;
  const { build, ticket } = await createOne(store);
  // The first one, and those that are lost.
  for (let lost = 0; lost <= 10; lost += 1) await store.begin(build.id, roomy);
  expect(await store.build(build.id)).toMatchObject({ state: 'running', lost: 10 });

  const said: string[] = [];
  expect(await performBuild(depsOf(goneLogs, said), build.id, { number: 1, last: false }, never)).toEqual({
    kind: 'done',
  });
  expect(await store.ticket('anna', ticket.id)).toMatchObject({
    state: 'failed',
    code: 'builder_lost',
    message: expect.stringContaining('ended 11 times'),
  });
  expect(await store.open()).toEqual([]);
  expect(said).toEqual(['running', 'failed']);
});

test('a try that ended by itself is none that was lost', async () => {
  const { store } = world;
  const { build } = await createOne(store);
  for (let number = 0; number < 3; number += 1) {
    await store.begin(build.id, roomy);
    await store.again(build.id, 'tried again');
  }
  expect(await store.build(build.id)).toMatchObject({ state: 'queued', lost: 0 });
});

test('without a store of logs a build is tried again, and fails in the end', async () => {
  const { store } = world;
  const { build, ticket } = await createOne(store);
  const said: string[] = [];
  const deps = depsOf(goneLogs, said);
  expect(await performBuild(deps, build.id, { number: 1, last: false }, never)).toMatchObject({
    kind: 'again',
  });
  expect(await store.ticket('anna', ticket.id)).toMatchObject({
    state: 'queued',
    message: 'tried again: The store of logs is away.',
  });
  expect(await performBuild(deps, build.id, { number: 2, last: true }, never)).toEqual({ kind: 'done' });
  expect(await store.ticket('anna', ticket.id)).toMatchObject({
    state: 'failed',
    code: 'unavailable',
    message: 'The store of logs is away.',
  });
  expect(said).toEqual(['running', 'queued', 'running', 'failed']);
});

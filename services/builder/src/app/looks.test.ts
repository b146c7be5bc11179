import { AppError } from '@sluice/shared/errors';
import { fakeClock } from '@sluice/shared/testing';
import { describe, expect, test } from 'vitest';
import type { StoredBuild } from '../ports.ts';
import { builderLooks, type BuilderLooksDeps } from './looks.ts';

const clock = fakeClock();

async function found(name: string, change: Partial<BuilderLooksDeps>): Promise<unknown> {
  const looks = builderLooks({
    builder: { version: () => Promise.resolve('v0.25.1') },
    probe: { takesPushes: () => Promise.resolve(true) },
    deleteNothing: () => Promise.resolve(),
    collection: { underWay: () => Promise.resolve(undefined), last: () => Promise.resolve(undefined) },
    store: { open: () => Promise.resolve([]) },
    registry: 'registry.test:5000',
    clock,
    ...change,
  });
  const checks = await looks.find((look) => look.name === name)?.look();
  return checks?.map((one) => [one.name, one.ok, one.severity]);
}

const ok = (name: string) => [name, true, 'warning'];
const warning = (name: string) => [name, false, 'warning'];
const error = (name: string) => [name, false, 'error'];

test.each([
  ['v0.25.1', true],
  ['v0.13.0-rc1', true],
  ['v0.12.5', false],
  [undefined, true],
  ['v0.0.0+unknown', true],
  ['odd', true],
])('BuildKit %s', async (version, isFine) => {
  const builder = { version: () => Promise.resolve(version) };
  expect(await found('BuildKit', { builder })).toEqual([isFine ? ok('BuildKit') : warning('BuildKit')]);
});

describe('the registry', () => {
  const refuse = (code: 'unsupported' | 'unavailable') => () => Promise.reject(new AppError(code, 'no'));
  const readOnly = { takesPushes: () => Promise.resolve(false) };

  test('takes and deletes', async () => {
    expect(await found('image registry', {})).toEqual([ok('image registry'), ok('registry deletion')]);
    const deleteNothing = refuse('unsupported');
    expect(await found('image registry', { deleteNothing })).toContainEqual(warning('registry deletion'));
    await expect(found('image registry', { deleteNothing: refuse('unavailable') })).rejects.toThrow('no');
  });

  test('is read-only while it is collected, and else by mistake', async () => {
    expect(await found('image registry', { probe: readOnly })).toEqual([error('image registry')]);
    const underWay = { phase: 'collecting', startedAt: 1, deadline: clock.now() + 1 } as const;
    const collection = {
      underWay: () => Promise.resolve(underWay),
      last: () => Promise.resolve(undefined),
    };
    expect(await found('image registry', { probe: readOnly, collection })).toEqual([ok('image registry')]);
  });
});

test('a collection that was left behind, and one that failed', async () => {
  const at = clock.now();
  const left = (deadline: number): Partial<BuilderLooksDeps> => ({
    collection: {
      underWay: () => Promise.resolve({ phase: 'collecting', startedAt: 1, deadline }),
      last: () => Promise.resolve(undefined),
    },
  });
  expect(await found('registry collection', left(at + 1))).toEqual([ok('registry collection')]);
  expect(await found('registry collection', left(at - 300_000))).toEqual([error('registry collection')]);
  const ended = (outcome: 'gave_up' | 'done'): Partial<BuilderLooksDeps> => ({
    collection: {
      underWay: () => Promise.resolve(undefined),
      last: () =>
        Promise.resolve({
          at,
          outcome:
            outcome === 'done'
              ? { state: 'done', manifests: 1, blobs: 1, freedBytes: 1 }
              : { state: 'gave_up', why: 'builds did not end' },
        }),
    },
  });
  expect(await found('registry collection', ended('done'))).toEqual([ok('registry collection')]);
  expect(await found('registry collection', ended('gave_up'))).toEqual([warning('registry collection')]);
});

test('builds that wait for long', async () => {
  const of = (state: string, age: number) =>
    ({ state, createdAt: clock.now() - age }) as unknown as StoredBuild;
  const open = (...builds: StoredBuild[]) => ({ store: { open: () => Promise.resolve(builds) } });
  const name = 'builds that wait';
  expect(await found(name, open(of('queued', 60_000), of('running', 9_000_000)))).toEqual([ok(name)]);
  expect(await found(name, open(of('queued', 60_000), of('queued', 901_000)))).toEqual([warning(name)]);
});

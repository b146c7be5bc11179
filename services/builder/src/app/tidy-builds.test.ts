import type { BuildChanged } from '@sluice/shared/contracts';
import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import type { BuildOutcome, StoredBuild } from '../ports.ts';
import { tidyBuilds, type TidyDeps } from './tidy-builds.ts';

const waitMs = 3_600_000;
const clock = fakeClock();
const build = (id: string, state: StoredBuild['state'], ageMs: number): StoredBuild => ({
  id,
  key: 'a'.repeat(64),
  spec: {
    user: 'anna',
    kind: 'python',
    source: 'docker.io/library/python',
    baseDigest: `sha256:${'b'.repeat(64)}`,
    baseUser: '',
    file: undefined,
    toolImage: '',
    platforms: [],
    sbom: false,
    provenance: false,
    repository: 'registry.test:5000/anna',
    contentTag: 'sluice-python-00000000000000000000',
    force: false,
  },
  state,
  order: 1,
  createdAt: clock.now() - ageMs,
  startedAt: undefined,
  endedAt: undefined,
  tickets: ['one', 'two'],
  progress: undefined,
  message: undefined,
  digest: undefined,
  size: undefined,
  lost: 0,
});

interface Seen {
  readonly added: string[];
  readonly removed: string[];
  readonly ended: Record<string, BuildOutcome>;
  readonly said: BuildChanged[];
}

async function tidied(open: readonly StoredBuild[], hasEnded = false): Promise<Seen> {
  const seen: Seen = { added: [], removed: [], ended: {}, said: [] };
  const store: Pick<TidyDeps['store'], 'open' | 'end' | 'removeEnded'> = {
    open: () => Promise.resolve(open),
    end: async (id, outcome) => {
      if (hasEnded) return { ended: [], untagged: [] };
      seen.ended[id] = outcome;
      const ticket = {
        id: 'one',
        user: 'anna',
        build: id,
        kind: 'python',
        source: 'python',
        target: 'anna:x',
      };
      const rest = { image: '', pushed: '', state: 'expired', reused: false, created_at: 0 } as const;
      return { ended: [{ ...ticket, ...rest }], untagged: [] };
    },
    removeEnded: () => Promise.resolve({ removed: 0, builds: [] }),
  };
  await tidyBuilds({
    store,
    queue: {
      add: async ({ id }) => void seen.added.push(id),
      remove: async (id) => void seen.removed.push(id),
    },
    logs: { remove: () => Promise.resolve() },
    waitMs,
    retentionMs: waitMs,
    say: async (change) => void seen.said.push(change),
    clock,
  });
  return seen;
}

test('a build that waited too long expires, out of the queue first, and says what to do', async () => {
  const seen = await tidied([build('late', 'queued', waitMs + 1)]);
  expect(seen.removed).toEqual(['late']);
  expect(seen.added).toEqual([]);
  expect(seen.ended['late']).toMatchObject({
    state: 'expired',
    code: 'expired',
    message: expect.stringMatching(/more than 60 minutes/),
  });
  expect(seen.said).toMatchObject([{ build: 'late', state: 'expired', tickets: ['one', 'two'] }]);
});

test('one that another process ended meanwhile is told of by that one', async () => {
  expect((await tidied([build('late', 'queued', waitMs + 1)], true)).said).toEqual([]);
});

test('the rest is in the queue, also what is said to run: its worker may be lost', async () => {
  const seen = await tidied([build('waits', 'queued', waitMs - 1), build('runs', 'running', waitMs * 2)]);
  expect(seen.added).toEqual(['waits', 'runs']);
  expect(seen.removed).toEqual([]);
  expect(seen.ended).toEqual({});
});

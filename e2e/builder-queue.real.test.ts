import { afterAll, beforeAll, expect, test } from 'vitest';
import { extending, openBuildRegistry, pushBase, type OwnRegistry } from './support/builder-servers.ts';
import { openBuilderWorld, requirements, type Builder, type BuilderWorld } from './support/builder-world.ts';
import { openGate, type Gate } from './support/gate.ts';

/* One worker, and more users than it has time for. */

const perUser = 4;
let registry: OwnRegistry;
let gate: Gate;
let world: BuilderWorld;
let base: string;
beforeAll(async () => {
  [registry, gate] = await Promise.all([openBuildRegistry(), openGate()]);
  base = await pushBase(registry.host);
  const env = {
    REGISTRY_HOST: registry.host,
    SLUICE_BUILD_CACHE: 'false',
    SLUICE_BUILD_CONCURRENCY: '1',
    SLUICE_BUILD_USER_QUEUE: String(perUser),
    SLUICE_BUILD_QUEUE: String(5 * perUser + 1),
  };
  world = await openBuilderWorld(env, 4);
}, 120_000);
afterAll(async () => {
  await world?.close();
  await Promise.all([registry, gate].map(async (server) => server?.close()));
});

const asked = (user: Builder, tag: string, shell: string): Record<string, unknown> => ({
  source: base,
  kind: 'python',
  target: `${user.login}:${tag}`,
  file: requirements(extending(shell)),
});

interface Times {
  readonly started_at?: string;
}

test('users take turns, whoever asked first; past its share a request is to come again', async () => {
  const users = [world.otto, ...world.others];
  const first = await world.anna.started(asked(world.anna, 'first', gate.wait('first')));
  await gate.reached('first');
  const ids: { user: Builder; id: string }[] = [];
  // One user after the other, all of its builds at once.
  for (const user of users) {
    for (let at = 0; at < perUser; at += 1)
      ids.push({ user, id: await user.started(asked(user, `b${at}`, `echo ${at}`)) });
  }
  await refused(world.otto, new RegExp(`${perUser} builds of ${world.otto.login} wait or run already`));
  await refused(world.anna, /21 builds wait or run already/);
  // The same content is no build more.
  expect((await world.otto.start(asked(world.otto, 'same', 'echo 0'))).status).toBe(200);
  gate.open('first');
  expect(await world.anna.ended(first)).toMatchObject({ state: 'succeeded' });
  const ended = await Promise.all(
    ids.map(async ({ user, id }) => ({ user, seen: (await user.ended(id)) as Times & { state: string } })),
  );
  expect(ended.filter(({ seen }) => seen.state !== 'succeeded')).toEqual([]);
  const order = ended
    .toSorted((a, b) => Date.parse(a.seen.started_at ?? '') - Date.parse(b.seen.started_at ?? ''))
    .map(({ user }) => user.login);
  for (let round = 0; round < perUser; round += 1) {
    const turn = order.slice(round * users.length, (round + 1) * users.length);
    expect(new Set(turn), `round ${round} of ${order.join(' ')}`).toEqual(
      new Set(users.map(({ login }) => login)),
    );
  }
}, 180_000);

async function refused(user: Builder, says: RegExp): Promise<void> {
  const answer = await user.request('/system/api/v1/build/start', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked(user, 'more', 'echo more')),
  });
  expect(answer.status).toBe(429);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(((await answer.json()) as { message: string }).message).toMatch(says);
}

import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  extending,
  openBuildkitd,
  openBuildRedis,
  openBuildRegistry,
  pushBase,
  type BuilderServer,
  type OwnRegistry,
} from './support/builder-servers.ts';
import { openBuilderWorld, requirements, type BuilderWorld } from './support/builder-world.ts';
import { openGate, type Gate } from './support/gate.ts';
import { waitFor } from './support/wait.ts';

/* Servers that go away amid a build and come back: each request ends once, and nothing is left of it. */

let redis: BuilderServer & { readonly url: string };
let buildkitd: BuilderServer;
let registry: OwnRegistry;
let gate: Gate;
let world: BuilderWorld;
let base: string;
beforeAll(async () => {
  [redis, buildkitd, registry, gate] = await Promise.all([
    openBuildRedis(),
    openBuildkitd(),
    openBuildRegistry(),
    openGate(),
  ]);
  base = await pushBase(registry.host);
  world = await openBuilderWorld({
    REDIS_URL: redis.url,
    BUILDKIT_HOST: `tcp://${buildkitd.host}`,
    REGISTRY_HOST: registry.host,
  });
}, 120_000);
afterAll(async () => {
  await world?.close();
  await Promise.all([redis, buildkitd, registry, gate].map(async (server) => server?.close()));
});

/** A build that is at its gate, in the step that installs. */
async function atGate(tag: string): Promise<string> {
  const id = await world.anna.started(asked(tag, gate.wait(tag)));
  await gate.reached(tag);
  return id;
}

const asked = (tag: string, shell: string): Record<string, unknown> => ({
  source: base,
  kind: 'python',
  target: `${world.anna.login}:${tag}`,
  file: requirements(extending(shell)),
});

/** The build waits for another try, and says why. */
async function triedAgain(id: string, why: RegExp): Promise<void> {
  const message = await waitFor(`the build ${id} to be tried again`, async () => {
    const seen = await world.anna.view(id);
    expect(['queued', 'running']).toContain(seen.state);
    return seen.message;
  });
  expect(message).toMatch(/^tried again: /);
  expect(message).toMatch(why);
}

async function endedOnce(id: string, tag: string): Promise<void> {
  const { anna } = world;
  const seen = await anna.ended(id);
  expect(seen).toMatchObject({ state: 'succeeded', reused: false });
  const image = (await (await anna.request(`/system/images/${tag}`)).json()) as { digest: string };
  expect(image.digest).toBe(seen.digest);
  const { builds } = (await (await anna.request('/system/builds?limit=100')).json()) as {
    builds: { id: string; state: string }[];
  };
  expect(builds.filter((one) => one.id === id)).toHaveLength(1);
  await nothingLeft();
  // It stays as it is.
  expect(await anna.view(id)).toEqual(seen);
}

/** No folder with the login of a registry, no job and no lock. */
async function nothingLeft(): Promise<void> {
  const client = new Redis(redis.url);
  try {
    await waitFor('folders and jobs to go', async () => {
      if ((await world.buildFolders()).length > 0) return undefined;
      const keys = await client.keys('*');
      const left = keys.filter((key) => key.includes('bull') && /:(?:lock|active)$|:[0-9a-f-]{36}/.test(key));
      return left.length === 0 ? true : undefined;
    });
  } finally {
    client.disconnect();
  }
  const usage = (await (await world.anna.request('/system/builds/usage')).json()) as Record<string, number>;
  expect(usage).toMatchObject({ queued: 0, running: 0 });
}

describe('Redis', () => {
  test('is restarted while a step runs: the build goes on', async () => {
    const id = await atGate('redis');
    await redis.stop();
    const away = await world.anna.request(`/system/builds/${id}`);
    expect(away.status).toBe(503);
    await redis.start();
    gate.open('redis');
    await endedOnce(id, 'redis');
  });

  test('is away while the image is pushed: the image is found when it is back', async () => {
    const id = await atGate('pushed');
    await redis.stop();
    gate.open('pushed');
    const tags = `http://${registry.host}/v2/${world.anna.login}/tags/list`;
    const before = ((await (await fetch(tags)).json()) as { tags: string[] }).tags.length;
    await waitFor('the image to be pushed', async () => {
      const { tags: now } = (await (await fetch(tags)).json()) as { tags: string[] };
      return now.length > before ? true : undefined;
    });
    await redis.start();
    await endedOnce(id, 'pushed');
  });
});

describe('BuildKit', () => {
  test('is killed while a step runs: another try makes the image', async () => {
    const id = await atGate('daemon');
    await buildkitd.stop('SIGKILL');
    await triedAgain(id, /builder went away/);
    // The step of before outlives its daemon.
    gate.open('daemon');
    await buildkitd.start();
    await endedOnce(id, 'daemon');
    expect(await world.anna.log(id)).toMatch(/try 1 failed, it is tried again/);
  });

  test('is away when the image is asked for', async () => {
    await buildkitd.stop();
    const id = await world.anna.started(asked('away', 'true'));
    await triedAgain(id, /builder went away/);
    await buildkitd.start();
    await endedOnce(id, 'away');
    expect(await world.anna.log(id)).toMatch(/try 2/);
  });
});

describe('the registry', () => {
  test('is away when the image is pushed', async () => {
    const id = await atGate('push');
    await registry.stop('SIGKILL');
    gate.open('push');
    await triedAgain(id, new RegExp(`${registry.host} cannot be reached`));
    const { status, body } = await world.anna.start(asked('other', 'true'));
    expect(status).toBe(503);
    expect(body).toMatchObject({ status: 'ko' });
    expect(body.message).toContain(registry.host);
    await registry.start();
    await endedOnce(id, 'push');
  });

  test('is read-only when the image is pushed', async () => {
    const id = await atGate('locked');
    await registry.restart('read-only');
    gate.open('locked');
    await triedAgain(id, /is read-only now/);
    await registry.restart('writable');
    await endedOnce(id, 'locked');
    expect(await world.anna.log(id)).toMatch(/is read-only now/);
  });
});

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBuilderWorld, python, requirements, type BuilderWorld } from './support/builder-world.ts';
import { kubectl, randomNamespace } from './support/distributed.ts';
import { waitFor } from './support/wait.ts';

/* From a request to an image that runs, and what becomes of requests when something fails. */

let world: BuilderWorld;
const pods = `${randomNamespace()}-images`;
beforeAll(async () => {
  world = await openBuilderWorld();
  await kubectl('create', 'namespace', pods);
}, 120_000);
afterAll(async () => {
  await kubectl('delete', 'namespace', pods, '--wait=false');
  await world.close();
});

/** Runs a command in a pod of an image to its end. @returns what it printed */
async function inPod(name: string, image: string, ...command: readonly string[]): Promise<string> {
  await kubectl(
    'run',
    name,
    '-n',
    pods,
    `--image=${image}`,
    '--restart=Never',
    '--command',
    '--',
    ...command,
  );
  const phase = await waitFor(
    `the pod ${name} to end`,
    async () => {
      const seen = (await kubectl('get', 'pod', name, '-n', pods, '-o', 'jsonpath={.status.phase}')).trim();
      return ['Succeeded', 'Failed'].includes(seen) ? seen : undefined;
    },
    120_000,
    250,
  );
  const printed = await kubectl('logs', name, '-n', pods);
  expect(`${phase} ${printed}`).toMatch(/^Succeeded/);
  return printed;
}

describe('an image that runs on the cluster', () => {
  test('python: the package is imported', async () => {
    const { anna } = world;
    const id = await anna.started(python(anna, 'tools', 'six==1.16.0\n'));
    const seen = await anna.ended(id);
    expect(seen).toMatchObject({ state: 'succeeded', reused: false });
    expect(seen.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await anna.log(id)).toMatch(/six/);
    const says = await inPod(
      'python',
      `${seen.image}@${seen.digest}`,
      'python3',
      '-c',
      'import six; print(six.__version__)',
    );
    expect(says).toContain('1.16.0');
  }, 420_000);

  test('nodejs: the package is required', async () => {
    const { anna } = world;
    const file = requirements(JSON.stringify({ dependencies: { ms: '2.1.3' } }));
    const request = { source: 'node:24-bookworm-slim', kind: 'nodejs', target: `${anna.login}:node`, file };
    const seen = await anna.ended(await anna.started(request));
    expect(seen).toMatchObject({ state: 'succeeded' });
    const says = await inPod('nodejs', seen.image, 'node', '-e', "console.log(require('ms')(60000))");
    expect(says).toContain('1m');
  }, 420_000);
});

describe('requests for the same', () => {
  test('fifty at once make one build', async () => {
    const { otto } = world;
    const file = 'six==1.15.0\n';
    const ids = await Promise.all(
      Array.from({ length: 50 }, async (_, at) => otto.started(python(otto, `same-${at}`, file))),
    );
    const seen = await Promise.all(ids.map(async (id) => otto.ended(id)));
    expect(seen.filter(({ state }) => state !== 'succeeded')).toEqual([]);
    expect(new Set(seen.filter(({ reused }) => !reused).map(({ build }) => build)).size).toBe(1);
    expect(new Set(seen.map(({ digest }) => digest)).size).toBe(1);
    const tags = (await (await otto.request('/system/images')).json()) as { images: { tag: string }[] };
    expect(tags.images.filter(({ tag }) => tag.startsWith('same-'))).toHaveLength(50);
  }, 420_000);

  test('made again by force it is the same image, to the byte', async () => {
    const { otto } = world;
    const file = 'six==1.10.0\nclick==8.1.7\n';
    const once = await otto.ended(await otto.started(python(otto, 'once', file)));
    const twice = await otto.ended(await otto.started(python(otto, 'twice', file, { force: true })));
    expect(twice).toMatchObject({ state: 'succeeded', reused: false });
    expect(twice.digest).toBe(once.digest);
    expect(twice.build).not.toBe(once.build);
  }, 240_000);

  test('a finished one is answered at once', async () => {
    const { otto } = world;
    const seen = await otto.view(await otto.started(python(otto, 'again', 'six==1.15.0\n')));
    expect(seen).toMatchObject({ state: 'succeeded', reused: true });
  });

  test('whoever cancels leaves the build to the others', async () => {
    const { anna } = world;
    const file = 'six==1.14.0\n';
    const first = await anna.started(python(anna, 'mine', file));
    const second = await anna.started(python(anna, 'yours', file));
    const dropped = await anna.request(`/system/builds/${first}`, { method: 'DELETE' });
    expect(dropped.ok).toBe(true);
    expect(await anna.ended(second)).toMatchObject({ state: 'succeeded' });
    expect(await anna.view(first)).toMatchObject({ state: 'cancelled' });
    expect((await anna.request('/system/images/mine')).status).toBe(404);
    expect((await anna.request('/system/images/yours')).status).toBe(200);
  }, 420_000);

  test('the last one who cancels ends it', async () => {
    const { anna } = world;
    const id = await anna.started(python(anna, 'never', `six==1.13.0\nwheel==0.40.0\n`, { force: true }));
    await waitFor(
      'the build to run',
      async () => ((await anna.view(id)).state === 'running' ? true : undefined),
      120_000,
    );
    await anna.request(`/system/builds/${id}`, { method: 'DELETE' });
    expect(await anna.ended(id)).toMatchObject({ state: 'cancelled' });
    await waitFor('its folder to go', async () =>
      (await world.buildFolders()).length === 0 ? true : undefined,
    );
    expect((await anna.request('/system/images/never')).status).toBe(404);
  }, 240_000);

  test('what one user’s packages did is in no layer of another’s', async () => {
    const { anna, otto } = world;
    const file = 'six==1.11.0\n';
    const mine = await anna.started(python(anna, 'layers', file));
    expect(await anna.ended(mine)).toMatchObject({ state: 'succeeded' });
    const theirs = await otto.started(python(otto, 'layers', file));
    expect(await otto.ended(theirs)).toMatchObject({ state: 'succeeded', reused: false });
    // It was done again, not taken from what the daemon keeps.
    expect(await otto.log(theirs)).toMatch(/Successfully installed six/);
  }, 240_000);

  test('users do not see each other’s', async () => {
    const { anna, otto } = world;
    const id = await otto.started(python(otto, 'private', 'six==1.15.0\n'));
    expect((await anna.request(`/system/builds/${id}`)).status).toBe(404);
    expect((await anna.request(`/system/builds/${id}/logs`)).status).toBe(404);
    expect((await anna.request(`/system/builds/${id}`, { method: 'DELETE' })).status).toBe(404);
    const foreign = await anna.start({ ...python(anna, 'x', 'six\n'), target: `${otto.login}:x` });
    expect(foreign).toMatchObject({ status: 400, body: { message: 'Invalid target for the build.' } });
    const base = await anna.start({
      ...python(anna, 'x', 'six\n'),
      source: `${world.registry}/${otto.login}:private`,
    });
    expect(base.status).toBe(403);
  });
});

describe('what cannot be built', () => {
  test('a package that does not exist: the step, and what it printed', async () => {
    const { anna } = world;
    const id = await anna.started(python(anna, 'broken', 'no-such-package-of-anybody==9.9.9\n'));
    const seen = await anna.ended(id);
    expect(seen).toMatchObject({ state: 'failed', code: 'requirements_failed' });
    expect(seen.message).toMatch(/no-such-package-of-anybody/);
    expect(await world.buildFolders()).toEqual([]);
  }, 240_000);

  test('a base image that is not there', async () => {
    const { status, body } = await world.anna.start(
      python(world.anna, 'x', 'six\n', { source: 'no-such-image:1' }),
    );
    expect(status).toBe(404);
    expect(body.message).toMatch(/no-such-image/);
    expect(body.status).toBe('ko');
  });
});

test('a server that is killed amid a build: its ticket ends once, and nothing is left', async () => {
  const { anna } = world;
  const id = await anna.started(python(anna, 'killed', 'six==1.12.0\n', { force: true }));
  await waitFor(
    'the build to run',
    async () => ((await anna.view(id)).state === 'running' ? true : undefined),
    120_000,
  );
  await world.kill();
  expect(await anna.ended(id)).toMatchObject({ state: 'succeeded' });
  expect(await world.buildFolders()).toEqual([]);
  const { builds } = (await (await anna.request('/system/builds?limit=100')).json()) as {
    builds: { id: string; state: string }[];
  };
  expect(builds.filter((one) => one.id === id)).toHaveLength(1);
}, 420_000);

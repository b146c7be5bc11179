import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOperations, type Operation } from './support/api-document.ts';
import { extending, openBuildRegistry, pushBase, type OwnRegistry } from './support/builder-servers.ts';
import { openBuilderWorld, requirements, type BuilderWorld } from './support/builder-world.ts';
import { casesOf, methodCases, requestOf, type HostileCase } from './support/hostile-cases.ts';
import { faultsOf } from './support/hostile-verdict.ts';
import { targetOf, type World } from './support/hostile-world.ts';
import { inParallel, sendRaw, type RawAnswer } from './support/raw-http.ts';
import { waitFor } from './support/wait.ts';

// What hostile-routes does with all others, with the routes of the image builder, on a server that has one.
const tags: ReadonlySet<string> = new Set(['builds', 'images', 'openserverless']);
const width = 16;
let registry: OwnRegistry;
let world: BuilderWorld;
let operations: readonly Operation[];
let examples: World;

beforeAll(async () => {
  registry = await openBuildRegistry();
  const base = await pushBase(registry.host);
  // As the examples name it.
  await pushBase(registry.host, undefined, 'library/python:3.12');
  world = await openBuilderWorld({
    REGISTRY_HOST: registry.host,
    SLUICE_REGISTRY_MIRRORS: `docker.io=${registry.host}`,
    OSCAR_USERNAME: 'oscar',
    SLUICE_BUILDERS: JSON.stringify({ python: { kind: 'python', source: base } }),
    SLUICE_BUILD_USER_QUEUE: '5',
    SLUICE_STREAMS_PER_CALLER: '200',
  });
  const { admin } = world;
  const file = requirements(extending('echo numpy'));
  const id = await admin.started({ source: base, kind: 'python', target: 'oscar:numpy', file });
  const { state, message } = await admin.ended(id);
  if (state !== 'succeeded') throw new Error(`the image of the examples is ${state}: ${message}`);
  operations = (await readOperations(world.server())).filter(({ tag }) => tags.has(tag));
  const login = `Basic ${Buffer.from(admin.token).toString('base64')}`;
  const shown = '550e8400-e29b-41d4-a716-446655440000';
  examples = {
    loginOf: ({ scheme }) => (scheme === 'none' ? undefined : login),
    bodyOf: (_operation, body) => Buffer.from(body),
    restore: () => Promise.resolve(),
    targetOf: (operation, change = {}) => targetOf(operation, change, new Map()).replaceAll(shown, id),
  };
}, 120_000);
afterAll(async () => {
  await world?.close();
  await registry?.close();
});

/** The original's routes are open to pages of all origins (without a login of theirs), and answer 405 for what they have no method for (builder §1.1, §1.5). */
function isMeant(
  { operation, kind, what }: HostileCase,
  fault: string,
  { status, head }: RawAnswer,
): boolean {
  if (operation.tag !== 'openserverless') return false;
  if (fault === 'an origin was let in') return !/^access-control-allow-credentials/im.test(head);
  return kind === 'method' && status === (what === 'OPTIONS' ? 200 : 405);
}

const files = (): number => readdirSync(`/proc/${world.server().process.pid}/fd`).length;

test('every operation of the builder takes its example', async () => {
  expect(operations.length).toBeGreaterThan(10);
  const faults: string[] = [];
  for (const operation of operations.filter(({ method }) => method !== 'DELETE')) {
    const answer = await sendRaw(world.server().url, requestOf(operation, examples));
    if (!operation.statuses.has(answer.status) || answer.status >= 300)
      faults.push(`${operation.name}: ${answer.head} ${answer.body}`);
  }
  expect(faults).toEqual([]);
});

test('every operation of the builder refuses what is wrong, names it, and stays as it was', async () => {
  const server = world.server();
  const before = files();
  const image = await (await world.admin.request('/system/images/numpy')).text();
  const faults: string[] = [];
  const cases = [
    ...operations.flatMap((one) => casesOf(one, examples)),
    ...methodCases(operations, examples),
  ];
  await inParallel(cases, width, async (hostile) => {
    const answer = await sendRaw(server.url, hostile.bytes, hostile.half);
    for (const fault of faultsOf(hostile, answer, { data: world.data, password: server.password })) {
      if (isMeant(hostile, fault, answer)) continue;
      const said = `${answer.status} ${answer.body.slice(0, 200)}`;
      faults.push(`${hostile.operation.name} [${hostile.kind}: ${hostile.what}] ${fault}: ${said}`);
    }
  });
  process.stdout.write(
    `${cases.length} hostile requests to ${operations.length} operations of the builder\n`,
  );
  expect(faults.slice(0, 20)).toEqual([]);
  expect(await (await world.admin.request('/system/images/numpy')).text()).toBe(image);
  await waitFor('streams and connections to be closed', () => files() <= before + 30 || undefined);
  const bugs = server
    .stderr()
    .split('\n')
    .filter((line) => line.includes('"level":50'));
  expect(bugs).toEqual([]);
});

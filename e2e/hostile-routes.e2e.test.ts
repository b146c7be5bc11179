import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readOperations, type Operation } from './support/api-document.ts';
import { casesOf, methodCases, requestOf, type HostileCase } from './support/hostile-cases.ts';
import { createWorld, type World } from './support/hostile-world.ts';
import { faultsOf } from './support/hostile-verdict.ts';
import { inParallel, sendRaw } from './support/raw-http.ts';
import { tokenOf } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// Requests made from the server's own description: a new route is tried by itself.
let data: string;
let server: Server;
let world: World;
let operations: readonly Operation[];
/** Those of the image builder, which this server has none of. */
let builder: readonly Operation[];
const builderTags: ReadonlySet<string> = new Set(['builds', 'images', 'openserverless']);
let sent = 0;
const width = 24;
const bodyLimit = 2_000_000;

beforeAll(async () => {
  data = await tempFolder();
  server = await startServer({
    data,
    env: {
      SLUICE_SETTLE_MS: '200',
      SLUICE_BODY_LIMIT: String(bodyLimit),
      // The refusal of too many at once is not what is looked for here.
      SLUICE_STREAMS_PER_CALLER: '200',
    },
  });
  world = await createWorld(server);
  const all = await readOperations(server);
  operations = all.filter(({ tag }) => !builderTags.has(tag));
  builder = all.filter(({ tag }) => builderTags.has(tag));
});
afterAll(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

const state = async (): Promise<{ memory: number; files: number }> => {
  const text = await readFile(`/proc/${server.process.pid}/status`, 'utf8');
  return {
    memory: Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? '0') / 1000,
    files: readdirSync(`/proc/${server.process.pid}/fd`).length,
  };
};

/** What nothing here speaks of, byte by byte. */
async function witness(): Promise<readonly string[]> {
  const paths = ['services/witness', 'buckets/witness', 'logs/witness', 'runs?service=witness'];
  return Promise.all(
    paths.map(async (path) => {
      const answer = await server.request(`/system/${path}`);
      expect(answer.status, path).toBe(200);
      return answer.text();
    }),
  );
}

async function namesOf(what: 'services' | 'buckets'): Promise<readonly string[]> {
  const answer = await server.request(`/system/${what}`);
  const items = (await answer.json()) as { name?: string; bucket_name?: string }[];
  return items.map((item) => item.name ?? item.bucket_name ?? '');
}

async function attack(cases: readonly HostileCase[]): Promise<string[]> {
  const faults: string[] = [];
  const secrets = { data, password: server.password };
  await inParallel(cases, width, async (hostile) => {
    sent += 1;
    const answer = await sendRaw(server.url, hostile.bytes, hostile.half);
    for (const fault of faultsOf(hostile, answer, secrets)) {
      const said = `${answer.status} ${answer.body.slice(0, 200)}`;
      faults.push(`${hostile.operation.name} [${hostile.kind}: ${hostile.what}] ${fault}: ${said}`);
    }
  });
  return faults;
}

async function accepted(operation: Operation): Promise<void> {
  const target = world.targetOf(operation, { isReal: true });
  const answer = await sendRaw(server.url, requestOf(operation, world, { target }));
  expect(answer.status, `${operation.name}: ${answer.head} ${answer.body}`).toBe(operation.success);
}

/** Calls first: later the service that they call is changed. */
const lasting = (): readonly Operation[] =>
  operations
    .filter(({ method }) => method !== 'DELETE')
    .sort((a, b) => Number(b.scheme === 'bearer') - Number(a.scheme === 'bearer'));
/** Parts before what they are a part of. */
const deletions = (): readonly Operation[] =>
  operations.filter(({ method }) => method === 'DELETE').toReversed();

async function restored(): Promise<void> {
  await world.restore();
  const call = operations.find(({ path }) => path === '/run/{name}');
  if (call === undefined) throw new Error('no service can be called');
  await waitFor('a runner', async () =>
    (await sendRaw(server.url, requestOf(call, world))).status === 200 ? true : undefined,
  );
}

describe('every operation of /openapi.json', () => {
  test('takes its example: what is refused later is refused for what was changed', async () => {
    await restored();
    expect(operations.length).toBeGreaterThan(40);
    for (const operation of lasting()) await accepted(operation);
  });

  test('refuses what is wrong, names it, and stays as it was', async () => {
    await restored();
    const seen = await witness();
    const before = {
      ...(await state()),
      services: await namesOf('services'),
      buckets: await namesOf('buckets'),
    };
    const faults: string[] = [];
    for (const operation of [...lasting(), ...deletions()]) {
      faults.push(...(await attack(casesOf(operation, world))));
    }
    faults.push(...(await attack(methodCases(operations, world))));
    process.stdout.write(`${sent} hostile requests to ${operations.length} operations\n`);
    // The first say enough where there are many.
    expect(faults.slice(0, 20)).toEqual([]);
    expect(sent).toBeGreaterThan(operations.length * 100);
    expect(await witness()).toEqual(seen);
    // What the new services keep ready makes way for a call of one that has no runner.
    const headers = { authorization: `Bearer ${await tokenOf(server, 'witness')}` };
    const signal = AbortSignal.timeout(10_000);
    const call = await server.request('/run/witness', { method: 'POST', body: 'hello', headers, signal });
    expect(await call.text()).toContain('hello');
    expect(await namesOf('services')).toEqual(expect.arrayContaining([...before.services]));
    expect(await namesOf('buckets')).toEqual(expect.arrayContaining([...before.buckets]));
    await waitFor('streams and connections to be closed', async () =>
      (await state()).files <= before.files + 20 ? true : undefined,
    );
    // Some hundred services are new, some with scripts of 100 kB.
    expect((await state()).memory).toBeLessThan(before.memory + 400);
    const bugs = server
      .stderr()
      .split('\n')
      .filter((line) => line.includes('"level":50'));
    expect(bugs).toEqual([]);
  });

  test('of the image builder says what is missing where there is none', async () => {
    expect(builder.length).toBeGreaterThan(10);
    for (const operation of builder) {
      const answer = await sendRaw(server.url, requestOf(operation, world));
      expect(answer.status, operation.name).toBe(503);
      expect(answer.body, operation.name).toContain('BUILDKIT_HOST');
    }
  });

  test('takes the examples that delete, as the others, after all that', async () => {
    await world.restore();
    for (const operation of deletions()) await accepted(operation);
    expect((await server.request('/health')).status).toBe(200);
  });
});

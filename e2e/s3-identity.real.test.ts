import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keysOf, openMinio, type Minio } from './support/minio.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { createService, runsOf, stateCounts, type RunView } from './support/service.ts';
import { waitFor } from './support/wait.ts';

/* One run for each state of an object, whichever way word of it came: the stream, a write through Sluice, a listing. */

const name = `t${randomBytes(6).toString('hex')}`;
const script = 'wc -c < "$INPUT_FILE_PATH"\n';
let minio: Minio;
let data: string;
let server: Server;
const start = async (): Promise<Server> =>
  startServer({ data, env: { ...minio.env, SLUICE_RECONCILE_INTERVAL: '1' } });

beforeAll(async () => {
  [minio, data] = await Promise.all([openMinio(), tempFolder()]);
  server = await start();
  await createService(server, name, script, { output: [] });
});
afterAll(async () => {
  await server.stop();
  await minio.close();
  await removeFolder(data);
});

/** Overwritten in its turn, each time with other bytes. */
const overwritten = Array.from({ length: 10 }, (_, at) => `in/over ${at}`);

async function uploads(): Promise<readonly string[]> {
  const { client } = minio;
  const names = ['a b', 'plus+', '100%', 'per%20cent', 'ümläut 日本語 😀', 'quote\'s "', 'a&b=c?d#e', '007'];
  const plain = Array.from({ length: 120 }, (_, at) => `in/${names[at % names.length]}-${at}`);
  await Promise.all(plain.map(async (key) => client.putObject(name, key, `from ${key}`)));
  const ours = Array.from({ length: 30 }, (_, at) => `in/api ${names[at % names.length]}-${at}`);
  for (const key of ours) {
    const path = key.split('/').map(encodeURIComponent).join('/');
    const answer = await server.request(`/system/buckets/${name}/objects/${path}`, {
      method: 'PUT',
      body: key,
    });
    expect(answer.status).toBe(201);
  }
  const copies = plain.slice(0, 19).map((key) => `${key} copy`);
  for (const [at, key] of copies.entries()) await client.copyObject(name, key, `/${name}/${plain[at]}`);
  await client.putObject(name, 'in/parts', Buffer.alloc(20_000_000, 'p'));
  for (const turn of ['first', 'second', 'third'])
    for (const key of overwritten) await client.putObject(name, key, `${turn} of ${key}`);
  return [...plain, ...ours, ...copies, 'in/parts', ...overwritten];
}

async function ended(): Promise<RunView[]> {
  await waitFor(
    'all runs to end',
    async () => {
      const { queued = 0, starting = 0, running = 0 } = await stateCounts(server);
      return queued + starting + running === 0 ? true : undefined;
    },
    120_000,
  );
  return runsOf(server, name);
}

/** Passes over the input paths since the server's start. */
async function passes(): Promise<number> {
  const text = await (await server.request('/metrics')).text();
  const counts = [...text.matchAll(/^sluice_storage_events_reconcile_passes_total\S* (\d+)/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

test('200 uploads of every kind have one run for each state that is there, and none more after a restart', async () => {
  const keys = await uploads();
  await waitFor(
    'a run of each key',
    async () => {
      const found = new Set((await runsOf(server, name, 'succeeded')).map((run) => run.input?.key));
      return keys.every((key) => found.has(key)) ? true : undefined;
    },
    120_000,
  );
  const runs = await ended();
  const once = (list: readonly RunView[]): string[] =>
    list
      .map((run) => run.input?.key ?? '')
      .filter((key) => !overwritten.includes(key))
      .toSorted();
  expect(once(runs)).toEqual(keys.filter((key) => !overwritten.includes(key)).toSorted());
  // The marker of the folder is the service's.
  expect((await keysOf(minio.client, name)).toSorted()).toEqual(['in/', ...keys].toSorted());
  for (const key of overwritten) {
    const { etag } = await minio.client.statObject(name, key);
    const ofState = runs.filter((run) => run.input?.key === key && run.input.etag === etag);
    expect(ofState.map(({ state }) => state)).toEqual(['succeeded']);
  }
  await server.stop();
  server = await start();
  const before = await passes();
  await waitFor('two passes', async () => ((await passes()) >= before + 2 ? true : undefined));
  expect((await ended()).map(({ id }) => id).toSorted()).toEqual(runs.map(({ id }) => id).toSorted());
}, 300_000);

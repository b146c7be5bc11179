import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openMinio, type Minio } from './support/minio.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { createService, runsOf } from './support/service.ts';
import { waitFor } from './support/wait.ts';

/* An S3 server that is killed amid uploads and runs. */

const name = `t${randomBytes(6).toString('hex')}`;
const keys = Array.from({ length: 60 }, (_, at) => `in/${at}`);
let minio: Minio;
let data: string;
let server: Server;

beforeEach(async () => {
  [minio, data] = await Promise.all([openMinio(), tempFolder()]);
  server = await startServer({ data, env: { ...minio.env, SLUICE_RECONCILE_INTERVAL: '2' } });
});
afterEach(async () => {
  await server.stop();
  await minio.close();
  await removeFolder(data);
});

/** By the user's client, again and again until the S3 server has it. */
async function upload(key: string): Promise<void> {
  await waitFor(
    `the upload of ${key}`,
    async () =>
      minio.client.putObject(name, key, key).then(
        () => true as const,
        () => undefined,
      ),
    60_000,
  );
}

test('an S3 server that is killed twice amid uploads and runs: each file has one run that succeeded', async () => {
  await createService(server, name, 'sleep 0.2; cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n');
  const uploads = (async () => {
    for (const key of keys) await upload(key);
  })();
  for (const enough of [1, 15]) {
    await waitFor('runs to be under way', async () => {
      const runs = await runsOf(server, name);
      return runs.length >= enough ? true : undefined;
    });
    await minio.stop('SIGKILL');
    expect((await server.request('/health')).status).toBe(200);
    await minio.start();
  }
  await uploads;
  const done = async (): Promise<string[]> =>
    (await runsOf(server, name, 'succeeded')).map((run) => run.input?.key ?? '').toSorted();
  await waitFor(
    'a run of each file',
    async () => (new Set(await done()).size >= keys.length ? true : undefined),
    150_000,
  );
  await waitFor(
    'no run to be open',
    async () => ((await runsOf(server, name, 'queued,starting,running')).length === 0 ? true : undefined),
    60_000,
  );
  expect(await done()).toEqual(keys.toSorted());
  expect((await runsOf(server, name, 'failed')).map(({ failure }) => failure)).toEqual([]);
  const lines = server.stderr().split('\n');
  const said = lines.filter((line) => line.includes('the S3 server does not tell of new objects now'));
  expect(said.length).toBeGreaterThanOrEqual(1);
  // Once for each time that it went away.
  expect(said.length).toBeLessThanOrEqual(2);
}, 300_000);

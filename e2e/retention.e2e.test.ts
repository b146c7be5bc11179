import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createService, runsOf, stateCounts } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

let data: string;
let server: Server;

afterEach(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

const files = 200;
/** Seconds: records 1, reconciler's margin 1, passes and retention as fast as they may be. */
const impatient = {
  TTL_JOB: '1',
  SLUICE_CLAIM_MARGIN: '1',
  SLUICE_RECONCILE_INTERVAL: '1',
  SLUICE_RETENTION_INTERVAL: '1',
};

const metric = async (name: string): Promise<number> => {
  const text = await (await server.request('/metrics')).text();
  const values = text
    .split('\n')
    .filter((row) => row.startsWith(name) && /[ {]/.test(row.charAt(name.length)));
  return values.reduce((sum, row) => sum + Number(row.split(' ').at(-1)), 0);
};

test('records and claims past their retention: a full reconcile starts nothing', async () => {
  data = await tempFolder();
  server = await startServer({ data, env: impatient });
  await createService(server, 'copy', 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n');
  const input = join(data, 'buckets/copy/in');
  await mkdir(input, { recursive: true });
  await Promise.all(Array.from({ length: files }, (_, i) => writeFile(join(input, `f${i}`), `${i}`)));
  await waitFor(
    'all to succeed',
    async () => ((await metric('sluice_scheduler_attempts_ended_total')) >= files ? true : undefined),
    60_000,
  );
  await waitFor(
    'the records to expire',
    async () => ((await runsOf(server, 'copy')).length === 0 ? true : undefined),
    60_000,
  );

  await server.stop();
  server = await startServer({ data, env: impatient });
  const passes = await metric('sluice_storage_events_reconcile_passes_total');
  await waitFor(
    'two full passes',
    async () =>
      (await metric('sluice_storage_events_reconcile_passes_total')) >= passes + 2 ? true : undefined,
    60_000,
  );
  expect(await stateCounts(server)).toMatchObject({
    queued: 0,
    starting: 0,
    running: 0,
    succeeded: 0,
    failed: 0,
  });
  expect(await metric('sluice_scheduler_attempts_ended_total')).toBe(0);

  await writeFile(join(input, 'new'), 'new');
  await waitFor('a new file to run all the same', async () =>
    (await metric('sluice_scheduler_attempts_ended_total')) === 1 ? true : undefined,
  );
});

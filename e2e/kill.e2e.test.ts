import { randomInt } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createService, runsOf, stateCounts } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

const files = Number(process.env['SLUICE_KILL_FILES'] ?? '500');

let data: string;
let server: Server;

beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

test(`${files} files, five kills: every file has one outcome and one output`, async () => {
  server = await startServer({ data });
  await createService(server, 'copy', 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n');
  const input = join(data, 'buckets/copy/in');
  const content = (i: number): string => `${i}`.padEnd(1024, 'x');
  const names = Array.from({ length: files }, (_, i) => `file-${i}.txt`);
  await mkdir(input, { recursive: true });
  const writing = Promise.all(names.map((name, i) => writeFile(join(input, name), content(i))));

  for (let kill = 0; kill < 5; kill += 1) {
    // Anywhere: at the start, amid claims, amid scripts, amid uploads.
    await delay(randomInt(150, 900 + Math.floor(files / 4)));
    await server.stop('SIGKILL');
    server = await startServer({ data });
  }
  await writing;
  const output = join(data, 'buckets/copy/out');
  await waitFor(
    'all runs to end',
    async () => {
      const counts = await stateCounts(server);
      const open = (counts['queued'] ?? 0) + (counts['starting'] ?? 0) + (counts['running'] ?? 0);
      const ended = (counts['succeeded'] ?? 0) + (counts['failed'] ?? 0);
      return open === 0 && ended >= files ? true : undefined;
    },
    240_000,
  );

  const runs = await runsOf(server, 'copy');
  expect(runs.filter((run) => run.state !== 'succeeded').map((run) => run.failure ?? run.state)).toEqual([]);
  expect(new Set(runs.map((run) => run.input?.key)).size).toBe(files);
  expect(runs.length).toBe(files);
  const outputs = await readdir(output);
  expect(outputs.toSorted()).toEqual(names.toSorted());
  for (const [i, name] of names.entries())
    expect(await readFile(join(output, name), 'utf8')).toBe(content(i));
  // `clock` tells the file system's time; everything else there is an upload on its way.
  expect((await readdir(join(data, 'tmp'))).filter((name) => name !== 'clock')).toEqual([]);
  expect((await readdir(join(data, 'work'))).filter((name) => !name.startsWith('.'))).toEqual([]);
}, 500_000);

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { removeFolder, root, run, tempFolder } from './support/server.ts';

/* Whether the measuring program of the distributed form still works, at the smallest size; its figures say nothing here. */
test('npm run bench -- distributed', async () => {
  const folder = await tempFolder();
  const json = join(folder, 'figures.json');
  const amounts = '--repeat 1 --submits 100 --jobs 20 --files 1 --burst 10 --definitions 0,2 --calls 5';
  // Without variables that the servers of a test have for themselves; those of the test bed are what it measures.
  const { NATS_URL = '', REDIS_URL = '', MINIO_ENDPOINT = '' } = process.env;
  const { MINIO_ACCESS_KEY = '', MINIO_SECRET_KEY = '' } = process.env;
  const env = { NATS_URL, REDIS_URL, MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY };
  try {
    const args = [join(root, 'bench/main.ts'), 'distributed', ...amounts.split(' '), '--json', json];
    const done = await run(process.execPath, args, { env });
    expect(done.code, done.stdout + done.stderr).toBe(0);
    const { figures } = JSON.parse(await readFile(json, 'utf8')) as {
      figures: Record<string, { median: number; values: number[] }>;
    };
    expect(Object.keys(figures).length).toBeGreaterThan(20);
    for (const [name, { values }] of Object.entries(figures)) {
      expect(values.every(Number.isFinite), name).toBe(true);
      expect(done.stdout).toContain(name);
    }
    // What is counted does not depend on the machine.
    expect(figures['Kubernetes writes for a run']?.median).toBe(1);
  } finally {
    await removeFolder(folder);
  }
});

import { execFileSync } from 'node:child_process';
import { mkdir, open, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createService, runOf, runsOf, tokenOf } from './support/service.ts';
import { removeFolder, startRefused, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// A disk of its own that is small enough to be filled; only root may mount one.
const mayMount = process.platform === 'linux' && process.getuid?.() === 0;

let data: string;
let server: Server | undefined;

beforeEach(async () => {
  data = await tempFolder();
  if (mayMount) execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', data]);
});
afterEach(async () => {
  await server?.stop('SIGKILL');
  server = undefined;
  if (mayMount) execFileSync('umount', ['-l', data]);
  await removeFolder(data);
});

const ballast = (): string => join(data, 'ballast');

async function fillDisk(): Promise<void> {
  const file = await open(ballast(), 'w');
  const block = Buffer.alloc(65_536, 1);
  try {
    for (;;) await file.write(block);
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' });
  } finally {
    await file.close();
  }
  expect((await statfs(data)).bavail).toBe(0);
}

test.skipIf(!mayMount)(
  'a full disk refuses with a sentence, loses nothing and works again once there is room',
  async () => {
    server = await startServer({ data });
    const running = server;
    await createService(
      running,
      'copy',
      'head -c 200000 /dev/zero > "$TMP_OUTPUT_DIR/zeros"; cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n',
    );
    await mkdir(join(data, 'buckets/copy/in'), { recursive: true });
    await writeFile(join(data, 'buckets/copy/in/first'), 'first');
    await waitFor('the first run', async () => (await runsOf(running, 'copy', 'succeeded'))[0]);
    const token = await tokenOf(running, 'copy');
    await writeFile(join(data, 'buckets/copy/in/second'), 'second');
    await fillDisk();

    const put = await running.request('/system/buckets/copy/objects/in/third', {
      method: 'PUT',
      body: 'x'.repeat(100_000),
    });
    expect([503, 507]).toContain(put.status);
    expect(await put.text()).toMatch(/full|space/i);
    const job = await fetch(`${running.url}/job/copy`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: 'x'.repeat(50_000),
    });
    // Small writes may still find a place in pages that the database has: then it is accepted, and must be kept.
    expect([201, 503, 507]).toContain(job.status);
    expect((await fetch(`${running.url}/health`)).status).toBe(200);

    await rm(ballast());
    await waitFor(
      'the second file to have its output',
      async () => await readFile(join(data, 'buckets/copy/out/second'), 'utf8').catch(() => undefined),
      90_000,
    );
    if (job.status === 201) {
      const id = job.headers.get('x-run-id') ?? '';
      await waitFor(
        'the accepted run',
        async () => ((await runOf(running, id)).state === 'succeeded' ? true : undefined),
        90_000,
      );
    }
    const again = await running.request('/system/buckets/copy/objects/in/third', {
      method: 'PUT',
      body: 'x',
    });
    expect(again.status).toBe(201);
  },
);

test.skipIf(!mayMount)('a read-only data folder is refused at start', async () => {
  execFileSync('mount', ['-o', 'remount,ro', data]);
  const refused = await startRefused({ SLUICE_DATA: data });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('SLUICE_DATA');
  expect(refused.stderr).not.toMatch(/\n\s+at /);
});

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeFolder, root, run, startServer, tempFolder, type Server } from './support/server.ts';

// The public Python client of OSCAR, as published, against the server with its objects on a real MinIO.
const client = 'oscar-python==2.2.0';
const hint =
  'this test needs an S3 server: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY; and python3 with venv, and PyPI';

let folder: string;
let server: Server;
let python: string;

beforeAll(async () => {
  const { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY } = process.env;
  if (!MINIO_ENDPOINT || !MINIO_ACCESS_KEY || !MINIO_SECRET_KEY) throw new Error(hint);
  folder = await tempFolder();
  python = join(folder, 'venv/bin/python');
  await must('python3', ['-m', 'venv', join(folder, 'venv')]);
  await must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', client]);
  server = await startServer({
    data: join(folder, 'data'),
    env: { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY },
  });
}, 300_000);
afterAll(async () => {
  await server?.stop();
  if (folder) await removeFolder(folder);
});

async function must(program: string, args: readonly string[]): Promise<string> {
  const done = await run(program, args, { cwd: folder, env: { PATH: process.env['PATH'] ?? '' } });
  expect(done.code, `${program} ${args.join(' ')}\n${done.stdout}${done.stderr}\n${hint}`).toBe(0);
  return done.stdout;
}

test('oscar-python creates, lists, calls, submits, reads logs, puts and gets files, and deletes', async () => {
  const work = join(folder, 'work');
  await mkdir(work);
  const output = await must(python, [
    join(root, 'e2e/support/oscar_client.py'),
    server.url,
    server.username,
    server.password,
    work,
    randomBytes(4).toString('hex'),
  ]);
  const steps = ['cluster', 'services', 'calls', 'jobs', 'files', 'buckets', 'deployment', 'end'];
  for (const step of steps) expect(output).toMatch(new RegExp(`^${step}: `, 'm'));
  expect(output).toContain('{"done": true}');
});

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeFolder, run, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// The whole way with nothing but curl, as README.md and docs/user-guide.md show it.
let data: string;
let server: Server;

beforeAll(async () => {
  data = await tempFolder();
  server = await startServer({ data });
});
afterAll(async () => {
  await server.stop();
  await removeFolder(data);
});

async function curl(...args: readonly string[]): Promise<string> {
  const done = await run('curl', ['--silent', '--show-error', '--fail-with-body', ...args]);
  if (done.code !== 0) throw new Error(`curl ${args.join(' ')}: ${done.code} ${done.stderr}${done.stdout}`);
  return done.stdout;
}

const admin = (): string[] => ['--user', `${server.username}:${server.password}`];

const definition = {
  name: 'demo',
  memory: '256Mi',
  cpu: '0.2',
  log_level: 'CRITICAL',
  image: 'example/demo',
  script:
    '#!/bin/sh\necho "working on $(basename "$INPUT_FILE_PATH")"\nrev "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/reversed.txt"\n',
  input: [{ storage_provider: 'minio.default', path: 'demo/in' }],
  output: [{ storage_provider: 'minio.default', path: 'demo/out', suffix: ['.txt'] }],
};

async function presign(operation: 'upload' | 'download', key: string): Promise<string> {
  const body = JSON.stringify({ object_key: key, operation, expires_in: 60 });
  const answer = await curl(...admin(), '--data', body, `${server.url}/system/buckets/demo/presign`);
  return (JSON.parse(answer) as { url: string }).url;
}

test('create, upload by a presigned URL, read the result and the log', async () => {
  await curl(...admin(), '--data', JSON.stringify(definition), `${server.url}/system/services`);

  const file = join(data, 'word.txt');
  await writeFile(file, 'sluice\n');
  await curl('--upload-file', file, await presign('upload', 'in/word.txt'));

  const result = await waitFor('the result', async () => {
    const url = await presign('download', 'out/reversed.txt');
    return curl(url).catch(() => undefined);
  });
  expect(result).toBe('eciuls\n');

  const name = await waitFor('the run to be shown as succeeded', async () => {
    const list = JSON.parse(await curl(...admin(), `${server.url}/system/logs/demo`)) as {
      jobs: Record<string, { status: string }>;
    };
    const [job] = Object.entries(list.jobs);
    return job?.[1].status === 'Succeeded' ? job[0] : undefined;
  });
  expect(await curl(...admin(), `${server.url}/system/logs/demo/${name}`)).toBe('working on word.txt\n');
});

test("POST /job with the service's token and follow its Location to the end", async () => {
  const service = JSON.parse(await curl(...admin(), `${server.url}/system/services/demo`)) as {
    token: string;
  };
  const bearer = ['--header', `Authorization: Bearer ${service.token}`];
  const headers = await curl(...bearer, '--data', 'aGVsbG8K', '--include', `${server.url}/job/demo`);
  expect(headers).toMatch(/^HTTP\/1\.1 201 /);
  expect(headers).toMatch(/\r\n\r\n$/);
  const location = /^location: (.*)\r$/im.exec(headers)?.[1] ?? '';
  expect(location).toMatch(/^\/system\/runs\/demo-/);

  const ended = await waitFor('the run to end', async () => {
    const found = JSON.parse(await curl(...bearer, `${server.url}${location}`)) as {
      state: string;
      outputs?: unknown;
    };
    return ['queued', 'starting', 'running'].includes(found.state) ? undefined : found;
  });
  expect(ended).toMatchObject({ state: 'succeeded', outputs: [{ bucket: 'demo', key: 'out/reversed.txt' }] });
  expect(await curl(await presign('download', 'out/reversed.txt'))).toBe('olleh\n');
});

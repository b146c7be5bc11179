import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../support/server.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

async function curl(...args: readonly string[]): Promise<string> {
  const done = await run('curl', ['--silent', '--show-error', '--fail-with-body', ...args]);
  if (done.code !== 0) throw new Error(`curl ${args.join(' ')}: ${done.code} ${done.stderr}${done.stdout}`);
  return done.stdout;
}

const definition = {
  name: 'curled',
  memory: '256Mi',
  cpu: '0.2',
  log_level: 'CRITICAL',
  image: 'busybox',
  script:
    '#!/bin/sh\necho "working on $(basename "$INPUT_FILE_PATH")"\nrev "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/reversed.txt"\n',
  input: [{ storage_provider: 'minio.default', path: 'curled/in' }],
  output: [{ storage_provider: 'minio.default', path: 'curled/out', suffix: ['.txt'] }],
};

/** The whole way with nothing but curl, as README.md and docs/user-guide.md show it. */
export function describeCurl(world: () => World): void {
  const admin = (): string[] => ['--user', `${world().username}:${world().password}`];

  async function presign(operation: 'upload' | 'download', key: string): Promise<string> {
    const body = JSON.stringify({ object_key: key, operation, expires_in: 60 });
    const answer = await curl(...admin(), '--data', body, `${world().url}/system/buckets/curled/presign`);
    return (JSON.parse(answer) as { url: string }).url;
  }

  test('create, upload by a presigned URL, read the result and the log', async () => {
    await curl(...admin(), '--data', JSON.stringify(definition), `${world().url}/system/services`);

    const file = join(world().files, 'word.txt');
    await writeFile(file, 'sluice\n');
    await curl('--upload-file', file, await presign('upload', 'in/word.txt'));

    const result = await waitFor('the result', async () => {
      const url = await presign('download', 'out/reversed.txt');
      return curl(url).catch(() => undefined);
    });
    expect(result).toBe('eciuls\n');

    const name = await waitFor('the run to be shown as succeeded', async () => {
      const list = JSON.parse(await curl(...admin(), `${world().url}/system/logs/curled`)) as {
        jobs: Record<string, { status: string }>;
      };
      const [job] = Object.entries(list.jobs);
      return job?.[1].status === 'Succeeded' ? job[0] : undefined;
    });
    expect(await curl(...admin(), `${world().url}/system/logs/curled/${name}`)).toBe('working on word.txt\n');
  });

  test("POST /job with the service's token and follow its Location to the end", async () => {
    const service = JSON.parse(await curl(...admin(), `${world().url}/system/services/curled`)) as {
      token: string;
    };
    const bearer = ['--header', `Authorization: Bearer ${service.token}`];
    const headers = await curl(...bearer, '--data', 'aGVsbG8K', '--include', `${world().url}/job/curled`);
    expect(headers).toMatch(/^HTTP\/1\.1 201 /);
    expect(headers).toMatch(/\r\n\r\n$/);
    const location = /^location: (.*)\r$/im.exec(headers)?.[1] ?? '';
    expect(location).toMatch(/^\/system\/runs\/curled-/);

    const ended = await waitFor('the run to end', async () => {
      const found = JSON.parse(await curl(...bearer, `${world().url}${location}`)) as {
        state: string;
        outputs?: unknown;
      };
      return ['queued', 'starting', 'running'].includes(found.state) ? undefined : found;
    });
    expect(ended).toMatchObject({
      state: 'succeeded',
      outputs: [{ bucket: 'curled', key: 'out/reversed.txt' }],
    });
    expect(await curl(await presign('download', 'out/reversed.txt'))).toBe('olleh\n');
  });
}

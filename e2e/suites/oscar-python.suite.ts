import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeFolder, root, run, tempFolder, type Installation } from '../support/server.ts';

const client = 'oscar-python==2.2.0';
const hint = 'this test needs python3 with venv, and PyPI';

/** The public Python client of OSCAR, as published, against an installation with its objects on a real S3 server. */
export function describeOscarPython(world: () => Installation): void {
  let folder: string;
  let python: string;

  beforeAll(async () => {
    folder = await tempFolder();
    python = join(folder, 'venv/bin/python');
    await must('python3', ['-m', 'venv', join(folder, 'venv')]);
    await must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', client]);
  }, 600_000);
  afterAll(async () => {
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
    const { url, username, password } = world();
    const output = await must(python, [
      join(root, 'e2e/support/oscar_client.py'),
      url,
      username,
      password,
      work,
      randomBytes(4).toString('hex'),
    ]);
    const steps = ['cluster', 'services', 'calls', 'jobs', 'files', 'buckets', 'deployment', 'end'];
    for (const step of steps) expect(output).toMatch(new RegExp(`^${step}: `, 'm'));
    expect(output).toContain('{"done": true}');
  });
}

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root, run, type Finished } from '../support/server.ts';
import { runsOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** The client, as people and scripts use it. */
export function describeCli(world: () => World): void {
  const json = (done: Finished): unknown => JSON.parse(done.stdout);
  const ok = (done: Finished): Finished => {
    expect(done.code, `${done.stdout}${done.stderr}`).toBe(0);
    return done;
  };

  async function fdl(name: string, script: string, memory = '64Mi'): Promise<string> {
    const path = join(world().files, `${name}.yaml`);
    await writeFile(join(world().files, `${name}.sh`), script);
    await writeFile(
      path,
      `functions:
  oscar:
  - local:
      name: ${name}
      image: busybox
      script: ${name}.sh
      cpu: '0.05'
      memory: ${memory}
      input:
      - storage_provider: minio
        path: ${name}/in
      output:
      - storage_provider: minio.default
        path: ${name}/out
`,
    );
    return path;
  }

  test('plan, apply, change, apply again', async () => {
    const path = await fdl(
      'upper',
      'tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH")"\n',
    );
    expect(ok(await world().sluice('plan', path)).stdout).toMatch(/\+ upper/);
    const applied = ok(await world().sluice('apply', path));
    expect((applied.stdout + applied.stderr).includes('image is not used')).toBe(
      world().form === 'standalone',
    );
    expect(ok(await world().sluice('plan', path)).stdout).toMatch(/= upper/);
    await fdl('upper', 'tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/out.txt"\n', '512Mi');
    const changed = ok(await world().sluice('plan', path)).stdout;
    expect(changed).toMatch(/~ upper/);
    expect(changed).toContain('512Mi');
    ok(await world().sluice('apply', path));
    expect(json(ok(await world().sluice('service', 'show', 'upper', '--json')))).toMatchObject({
      memory: '512Mi',
    });
  });

  test('put --wait, ls, get, rm', async () => {
    ok(
      await world().sluice(
        'apply',
        await fdl(
          'count',
          'wc -c < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH").n"\n',
        ),
      ),
    );
    const folder = join(world().files, 'letters');
    await mkdir(join(folder, 'deep'), { recursive: true });
    await writeFile(join(folder, 'a b+c%.txt'), 'four');
    await writeFile(join(folder, 'deep', 'ünï.txt'), 'fiver');
    const put = ok(await world().sluice('file', 'put', folder, 'count/in/', '--wait'));
    expect(put.stdout).toContain('count/out/');
    const listed = ok(await world().sluice('file', 'ls', 'count/', '--json'));
    expect(listed.stdout).toContain('a b+c%.txt.n');
    expect(listed.stdout).toContain('ünï.txt.n');
    const got = ok(await world().sluice('file', 'get', 'count/out/a b+c%.txt.n', '-'));
    expect(got.stdout.trim()).toBe('4');
    ok(await world().sluice('file', 'rm', 'count/out/a b+c%.txt.n'));
    expect((await world().sluice('file', 'get', 'count/out/a b+c%.txt.n', '-')).code).toBe(3);
  });

  test('put --wait of a file that fails says why and exits with 6', async () => {
    ok(await world().sluice('apply', await fdl('picky', 'echo "not my type of file" >&2; exit 4\n')));
    const path = join(world().files, 'any.txt');
    await writeFile(path, 'x');
    const put = await world().sluice('file', 'put', path, 'picky/in/', '--wait');
    expect(put.code).toBe(6);
    expect(put.stdout + put.stderr).toContain('exit code 4');
    expect(put.stdout + put.stderr).toContain('not my type of file');
  });

  test('submit, run list, show, logs, retry', async () => {
    ok(await world().sluice('apply', await fdl('talk', 'echo "hello from the script"\n')));
    const submitted = json(ok(await world().sluice('submit', 'talk', '--wait', '--json'))) as { id: string };
    expect(submitted).toMatchObject({ state: 'succeeded' });
    expect(ok(await world().sluice('run', 'logs', submitted.id, '-f')).stdout).toContain(
      'hello from the script',
    );
    expect(ok(await world().sluice('run', 'show', submitted.id)).stdout).toContain('succeeded');
    const retried = json(ok(await world().sluice('run', 'retry', submitted.id, '--json'))) as { id: string };
    expect(retried.id).not.toBe(submitted.id);
    const list = json(ok(await world().sluice('run', 'list', 'talk', '--json'))) as {
      runs: { id: string }[];
    };
    expect(list.runs.map((one) => one.id)).toEqual([retried.id, submitted.id]);
  });

  test('backfill runs what was there before', async () => {
    await world().drop('old', 'in/relic.txt', 'relic');
    ok(await world().sluice('apply', await fdl('old', 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n')));
    ok(await world().sluice('backfill', 'old'));
    await waitFor('the relic to be run', async () => (await runsOf(world(), 'old', 'succeeded'))[0]);
    const relic = await world().request('/system/buckets/old/objects/out/relic.txt');
    expect(await relic.text()).toBe('relic');
  });

  test('service delete, status, dead letters', async () => {
    ok(await world().sluice('apply', await fdl('brief', 'true\n')));
    ok(await world().sluice('service', 'delete', 'brief', '--yes'));
    expect((await world().sluice('service', 'show', 'brief')).code).toBe(3);
    expect(ok(await world().sluice('status')).stdout).toContain('succeeded');
    expect(json(ok(await world().sluice('dead-letter', 'list', '--json')))).toMatchObject({
      dead_letters: [],
    });
  });

  describe('exit codes', () => {
    test('2: an FDL error names file, line and column', async () => {
      const path = join(world().files, 'wrong.yaml');
      await writeFile(path, 'functions:\n  oscar:\n  - local:\n      name: [x]\n');
      const done = await world().sluice('apply', path);
      expect(done.code).toBe(2);
      expect(done.stderr).toMatch(/wrong\.yaml:4:13/);
    });
    test('4: wrong credentials', async () => {
      const done = await run(process.execPath, [join(root, 'apps/cli/bin/sluice.mjs'), 'status'], {
        env: { SLUICE_URL: world().url, SLUICE_USERNAME: 'oscar', SLUICE_PASSWORD: 'wrong' },
      });
      expect(done.code).toBe(4);
    });
    test('5: nobody there, with the next command', async () => {
      const done = await run(process.execPath, [
        join(root, 'apps/cli/bin/sluice.mjs'),
        'status',
        '--url',
        'http://127.0.0.1:1',
      ]);
      expect(done.code).toBe(5);
      expect(done.stderr).toContain('npm start');
    });
  });
}

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeFolder, startServer, tempFolder, type Finished, type Server } from './support/server.ts';

// From nothing to results, with the client's own helpers only.
let data: string;
let files: string;
let server: Server;

beforeAll(async () => {
  [data, files] = await Promise.all([tempFolder(), tempFolder()]);
  server = await startServer({ data });
});
afterAll(async () => {
  await server.stop();
  await Promise.all([removeFolder(data), removeFolder(files)]);
});

const ok = (done: Finished): Finished => {
  expect(done.code, `${done.stdout}${done.stderr}`).toBe(0);
  return done;
};

test('init, plan, apply, put --wait', async () => {
  ok(await server.sluice('init', 'first', '--dir', files));
  const fdl = join(files, 'first.yaml');
  expect(ok(await server.sluice('plan', fdl))).toMatchObject({ stdout: '+ first (new)\n', stderr: '' });
  ok(await server.sluice('apply', fdl));
  await writeFile(join(files, 'poem.txt'), 'one\ntwo\n');
  const put = ok(await server.sluice('file', 'put', '--wait', join(files, 'poem.txt'), 'first/in/'));
  expect(put.stdout).toBe('first/out/poem-report.txt\n');
  expect(await readFile(join(data, 'buckets/first/out/poem-report.txt'), 'utf8')).toBe(
    'file: poem.txt\nbytes: 8\nlines: 2\n',
  );
});

test('doctor finds a server of this machine well', async () => {
  const well = ok(await server.sluice('doctor', '--json'));
  const { checks } = JSON.parse(well.stdout) as { checks: { check: string; status: string }[] };
  const names = checks.map(({ check }) => check);
  for (const name of [
    'node',
    'server',
    'connection',
    'clock',
    'login',
    'version',
    'adapters',
    'dead letters',
    'services',
    'data folder',
    'disk',
  ]) {
    expect(names).toContain(name);
  }
  expect(checks.filter(({ status }) => status === 'fail')).toEqual([]);
  expect(checks.find(({ check }) => check === 'version')?.status).toBe('ok');
});

test('call: a file in, a file out; text where there is none; a script that fails', async () => {
  const service = async (name: string, script: string): Promise<void> => {
    await writeFile(join(files, `${name}.sh`), script);
    await writeFile(
      join(files, `${name}.yaml`),
      `functions: {oscar: [local: {name: ${name}, image: busybox, log_level: CRITICAL, script: ${name}.sh}]}\n`,
    );
    ok(await server.sluice('apply', join(files, `${name}.yaml`)));
  };
  await service('shout', 'tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/loud"\n');
  const out = join(files, 'loud.txt');
  ok(await server.sluice('call', 'shout', join(files, 'poem.txt'), '--output', out));
  expect(await readFile(out, 'utf8')).toBe('ONE\nTWO\n');
  await service('talk', 'echo hello there\n');
  // The wire adds a line break to what was printed (OSCAR §7.7).
  expect(ok(await server.sluice('call', 'talk')).stdout).toBe('hello there\n\n');
  await service('picky', 'echo "not my type"; exit 3\n');
  const failed = await server.sluice('call', 'picky');
  expect(failed).toMatchObject({ code: 6, stdout: '' });
  expect(failed.stderr).toContain('not my type');
  expect((await server.sluice('call', 'nobody')).code).toBe(3);
});

import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createService, runsOf } from './support/service.ts';
import {
  cleanEnv,
  noBuilder,
  removeFolder,
  root,
  startServer,
  tempFolder,
  type Server,
} from './support/server.ts';
import { waitFor } from './support/wait.ts';

let data: string;
let server: Server;

beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

/** Says that it runs, then goes on once a file appears; both in a folder that outlives the server. */
const patient = (folder: string): string =>
  `echo $$ >> "${folder}/started"\nwhile [ ! -e "${folder}/go" ]; do sleep 0.05; done\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n`;

async function startPatientRun(): Promise<void> {
  await createService(server, 'patient', patient(data));
  await mkdir(join(data, 'buckets/patient/in'), { recursive: true });
  await writeFile(join(data, 'buckets/patient/in/a.txt'), 'a');
  await waitFor('the script to start', () => starts(1));
}

async function starts(count: number): Promise<true | undefined> {
  const text = await readFile(join(data, 'started'), 'utf8').catch(() => '');
  return text.split('\n').length > count ? true : undefined;
}

/** A process that ended and that nobody has collected yet is not alive. */
function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', `${pid}`], { encoding: 'utf8' });
  return stdout.trim() !== '' && !stdout.startsWith('Z');
}

test('SIGTERM ends it in order, with code 0 and a last line', async () => {
  server = await startServer({ data });
  const ended = await server.stop('SIGTERM');
  expect(ended.code).toBe(0);
  expect(ended.stderr.trimEnd().split('\n').at(-1)).toMatch(/stopped/i);
});

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a script that is cut off by %s runs again after the start',
  async (signal) => {
    server = await startServer({ data, env: { SLUICE_DRAIN_TIMEOUT: '0' } });
    await startPatientRun();
    const pid = Number((await readFile(join(data, 'started'), 'utf8')).trim());
    await server.stop(signal);
    server = await startServer({ data });
    expect(isAlive(pid), 'the first attempt must have ended before the second starts').toBe(false);
    await waitFor('the second attempt', () => starts(2));
    await writeFile(join(data, 'go'), '');
    const run = await waitFor(
      'the run to end',
      async () => (await runsOf(server, 'patient', 'succeeded,failed'))[0],
    );
    expect(run).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(await readFile(join(data, 'buckets/patient/out/a.txt'), 'utf8')).toBe('a');
  },
);

test('a second signal ends it at once', async () => {
  server = await startServer({ data, env: { SLUICE_DRAIN_TIMEOUT: '60' } });
  await startPatientRun();
  server.process.kill('SIGTERM');
  await waitFor(
    'the listener to close',
    async () =>
      await fetch(`${server.url}/health`).then(
        () => undefined,
        () => true,
      ),
  );
  expect((await server.stop('SIGINT')).code).toBe(130);
});

test('SIGTERM to "npm start" reaches the server behind it', async () => {
  server = await startServer({ data });
  await server.stop();
  const npm = spawn('npm', ['start'], {
    cwd: root,
    env: cleanEnv({ ...noBuilder, SLUICE_DATA: data, OSCAR_SERVICE_PORT: '0' }),
    stdio: 'ignore',
  });
  const pid = await waitFor('the server', async () => {
    const { pid: found } = JSON.parse(await readFile(join(data, 'server.json'), 'utf8')) as { pid: number };
    return isAlive(found) ? found : undefined;
  });
  npm.kill('SIGTERM');
  await waitFor('the server to end', () => (isAlive(pid) ? undefined : true));
});

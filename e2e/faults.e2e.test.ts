import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createService, runOf, runsOf, tokenOf, type RunView } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
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

async function submit(service: string): Promise<string> {
  const token = await tokenOf(server, service);
  const answer = await fetch(`${server.url}/job/${service}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: '{}',
  });
  expect(answer.status).toBe(201);
  return answer.headers.get('x-run-id') ?? '';
}

const ended = (id: string): Promise<RunView> =>
  waitFor(
    `run ${id} to end`,
    async () => {
      const run = await runOf(server, id);
      return ['queued', 'starting', 'running'].includes(run.state) ? undefined : run;
    },
    60_000,
  );

async function runScript(script: string, more: Readonly<Record<string, unknown>> = {}): Promise<RunView> {
  await createService(server, 'hostile', script, more);
  return ended(await submit('hostile'));
}

const memory = async (): Promise<number> =>
  Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.process.pid}/status`, 'utf8'))?.[1] ?? '0') /
  1000;

describe('a hostile script', () => {
  test('that fails is a failed run with its last words', async () => {
    server = await startServer({ data });
    const run = await runScript('echo "no such colour: mauve" >&2\nexit 3\n');
    expect(run).toMatchObject({ state: 'failed', exit_code: 3, failure: { code: 'script_failed' } });
    expect(run.failure?.message).toContain('mauve');
  });

  test('that leaves a sparse terabyte fails at once, and the variable to raise is told', async () => {
    server = await startServer({ data, env: { SLUICE_OUTPUT_LIMIT: '1000000000' } });
    const run = await runScript('cd "$TMP_OUTPUT_DIR"; echo small > a; truncate -s 1T sparse\n');
    expect(run).toMatchObject({ state: 'failed', attempt: 1, failure: { code: 'output_too_large' } });
    expect(run.failure?.message).toContain('one run may upload 1000000000 (SLUICE_OUTPUT_LIMIT)');
    expect(run.outputs ?? []).toEqual([]);
    expect((await server.request('/system/buckets/hostile/objects/out/a')).status).toBe(404);
  });

  test('that prints a gigabyte keeps its head and tail, and memory stays flat', async () => {
    server = await startServer({ data, env: { SLUICE_LOG_LIMIT: '100000' } });
    const before = await memory();
    const run = await runScript(
      'echo first\nyes 0123456789012345678901234567890123456789 | head -c 1000000000\necho; echo last\n',
    );
    expect(run.state).toBe('succeeded');
    expect(await memory()).toBeLessThan(before + 150);
    const log = await (await server.request(`/system/logs/hostile/${run.id}`)).text();
    expect(log.length).toBeLessThan(300_000);
    expect(log).toContain('first');
    expect(log).toContain('last');
  });

  test('that ignores SIGTERM and forks is ended by its time-out, with its children', async () => {
    server = await startServer({ data });
    const run = await runScript(
      `trap '' TERM\n(trap '' TERM; echo $! ; exec sleep 4321) &\n(setsid sleep 4322) &\nwhile :; do sleep 0.1; done\n`,
      { sluice: { timeout: 1 } },
    );
    expect(run).toMatchObject({ state: 'failed', failure: { code: 'timed_out' } });
    const left = (): string => execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    await waitFor('its children to be gone', () => (/sleep 432[12]/.test(left()) ? undefined : true));
  });

  test('that leaves a child behind ends when the script ends', async () => {
    server = await startServer({ data });
    const run = await runScript('sleep 4323 &\necho done\n');
    expect(run.state).toBe('succeeded');
    expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain('sleep 4323');
  });

  test('that deletes its folders gets no output and no crash', async () => {
    server = await startServer({ data });
    const run = await runScript('rm -rf "$TMP_OUTPUT_DIR" "$TMP_INPUT_DIR" "$(dirname "$TMP_OUTPUT_DIR")"\n');
    expect(run.state).toBe('succeeded');
    expect((await server.request('/health')).status).toBe(200);
  });

  test('that leaves links, FIFOs and thousands of files gets its regular files uploaded', async () => {
    server = await startServer({ data });
    const run = await runScript(
      `cd "$TMP_OUTPUT_DIR" && ln -s /proc/self/environ stolen && ln -s "$HOME" home && mkfifo pipe && ln -s / root && i=0 && while [ $i -lt 2000 ]; do echo $i > "f$i"; i=$((i+1)); done\n`,
    );
    expect(run.state).toBe('succeeded');
    const list = (await (
      await server.request('/system/buckets/hostile/objects?prefix=out/&limit=1000')
    ).json()) as {
      objects: { key: string }[];
    };
    expect(list.objects.length).toBe(1000);
    for (const name of ['stolen', 'home', 'pipe', 'root']) {
      expect((await server.request(`/system/buckets/hostile/objects/out/${name}`)).status).toBe(404);
    }
  });

  test("sees none of the server's environment or secrets", async () => {
    server = await startServer({
      data,
      env: { OSCAR_PASSWORD: 'hunter2hunter2', AWS_SECRET_ACCESS_KEY: 'leaked-key' },
    });
    const run = await runScript('env\n', {
      environment: { Variables: { COLOUR: 'mauve' }, Secrets: { KEY: 'own-secret' } },
    });
    const log = await (await server.request(`/system/logs/hostile/${run.id}`)).text();
    expect(log).toContain('COLOUR=mauve');
    expect(log).toContain('KEY=own-secret');
    expect(log).not.toContain('hunter2hunter2');
    expect(log).not.toContain('leaked-key');
    expect(log).not.toContain('OSCAR_PASSWORD');
  });
});

test('a run that is under way can be cancelled', async () => {
  server = await startServer({ data });
  await createService(server, 'slow', 'sleep 600\n');
  const id = await submit('slow');
  await waitFor('it to run', async () => ((await runOf(server, id)).state === 'running' ? true : undefined));
  expect((await server.request(`/system/runs/${id}/cancel`, { method: 'POST' })).status).toBe(202);
  expect((await ended(id)).state).toBe('cancelled');
  expect((await server.request(`/system/runs/${id}/cancel`, { method: 'POST' })).status).toBe(409);
});

test('deleting a service ends its waiting and running runs', async () => {
  server = await startServer({ data });
  await createService(server, 'gone', 'sleep 600\n', { sluice: { max_concurrency: 1 } });
  const ids = [await submit('gone'), await submit('gone'), await submit('gone')];
  await waitFor('one to run', async () => (await runsOf(server, 'gone', 'running'))[0]);
  expect((await server.request('/system/services/gone', { method: 'DELETE' })).status).toBe(204);
  const states = await Promise.all(ids.map(async (id) => (await ended(id)).state));
  expect(states).toEqual(['cancelled', 'cancelled', 'cancelled']);
});

test('a file that is still being written does not start its run', async () => {
  server = await startServer({ data });
  await createService(server, 'slow-write', 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n');
  const folder = join(data, 'buckets/slow-write/in');
  await mkdir(folder, { recursive: true });
  const file = await open(join(folder, 'big.bin'), 'w');
  await file.write('first half, ');
  // A second file, complete, is the clock here: when its run has ended, the first had every chance to start.
  await writeFile(join(folder, 'small.txt'), 'small');
  await waitFor('the small one', async () => (await runsOf(server, 'slow-write', 'succeeded'))[0]);
  await appendFile(join(folder, 'small2.txt'), 'small');
  await waitFor('the other small one', async () => (await runsOf(server, 'slow-write', 'succeeded'))[1]);
  expect((await runsOf(server, 'slow-write')).map((run) => run.input?.key)).not.toContain('in/big.bin');
  await file.write('second half');
  await file.close();
  await waitFor('the big one', async () => (await runsOf(server, 'slow-write', 'succeeded'))[2]);
  expect(await readFile(join(data, 'buckets/slow-write/out/big.bin'), 'utf8')).toBe(
    'first half, second half',
  );
  expect((await runsOf(server, 'slow-write')).length).toBe(3);
});

test('no service starves another', async () => {
  server = await startServer({ data, env: { SLUICE_MAX_RUNS: '1' } });
  await createService(server, 'crowd', 'sleep 0.02\n');
  await createService(server, 'single', 'true\n');
  const token = await tokenOf(server, 'crowd');
  const crowd = Array.from({ length: 200 }, () =>
    fetch(`${server.url}/job/crowd`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: '{}',
    }),
  );
  await Promise.all(crowd);
  const id = await submit('single');
  expect((await ended(id)).state).toBe('succeeded');
  expect((await runsOf(server, 'crowd', 'queued')).length).toBeGreaterThan(0);
});

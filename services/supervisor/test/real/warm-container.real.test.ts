import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunnerPlan } from '@sluice/shared/contracts';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openWarmContainer, type WarmContainer } from '../../src/adapters/index.ts';
import type { ScriptEnd } from '../../src/index.ts';
import { testPlan } from '../integration/support.ts';
import { createContainerHarness, imageName, type ContainerHarness } from './container-support.ts';

let harness: ContainerHarness;
let exits: string[];
let opened: WarmContainer[];
beforeEach(async () => {
  harness = await createContainerHarness();
  exits = [];
  opened = [];
});
afterEach(async () => {
  for (const warm of opened) await warm.close();
  await harness.close();
});

function planOf(definition: Partial<RunnerPlan['definition']> = {}): RunnerPlan {
  const base = testPlan({ definition: { image: 'busybox', memory: '32Mi', cpu: '1', ...definition } });
  return { ...base, runner_id: `demo-${randomUUID()}` };
}

async function open(
  definition: Partial<RunnerPlan['definition']> = {},
  signal = new AbortController().signal,
) {
  const plan = planOf(definition);
  const workDir = join(harness.dir, 'runners', plan.runner_id);
  const warm = await openWarmContainer(harness.host, plan, {
    workDir,
    signal,
    onExit: (reason) => void exits.push(reason),
  });
  opened.push(warm);
  let calls = 0;
  const call = async (
    text: string,
    more: { env?: Record<string, string>; timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<{ end: ScriptEnd; output: string }> => {
    calls += 1;
    const cwd = join(workDir, `${calls}`);
    await mkdir(cwd);
    const scriptPath = join(harness.dir, `script-${randomUUID()}.sh`);
    await writeFile(scriptPath, text, { mode: 0o600 });
    let output = '';
    const end = await warm.scripts.run({
      scriptPath,
      cwd,
      env: more.env ?? {},
      timeoutMs: more.timeoutMs ?? 60_000,
      signal: more.signal ?? new AbortController().signal,
      onStarted: () => undefined,
      onOutput: (chunk) => {
        output += Buffer.from(chunk).toString();
        return Promise.resolve();
      },
    });
    return { end, output };
  };
  return { warm, call, workDir };
}

test('one container takes one script after the other, each with its own environment and folder', async () => {
  const { call } = await open();
  const [id] = await harness.containers();
  for (const name of ['ada', 'grace']) {
    const said = await call('echo "$NAME $0 $HOME"; pwd; ls -A; echo oops >&2; exit 3\n', {
      env: { NAME: name },
    });
    expect(said.end).toEqual({ kind: 'exited', exitCode: 3 });
    expect(said.output).toMatch(new RegExp(`^${name} .*/\\.script-[0-9a-f-]+ (/.*/[12])\\n\\1\\noops\\n$`));
  }
  const privileges = await call(
    'grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status; ls /sys/class/net; id -u\n',
  );
  expect(privileges.output.replaceAll(/\s+/g, ' ')).toBe(
    `CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 lo ${process.getuid?.()} `,
  );
  expect(await harness.containers()).toEqual([id]);
  expect(exits).toEqual([]);
});

test('a script that closes its output is waited for; all of a long output comes', async () => {
  const { call } = await open();
  expect((await call('exec >&- 2>&-; sleep 1; exit 5\n')).end).toEqual({ kind: 'exited', exitCode: 5 });
  const long = await call('head -c 3000000 /dev/zero | tr "\\0" x\n');
  expect(long.end).toEqual({ kind: 'exited', exitCode: 0 });
  expect(long.output.length).toBe(3_000_000);
  expect(exits).toEqual([]);
});

test.each([
  ['a time-out', 'sleep 600\n', 'timed_out', /too long/],
  ['a process that is left behind', 'sleep 600 & exit 0\n', 'exited', /left processes/],
  ['a process that hides', 'setsid sleep 600 >/dev/null 2>&1 & exit 0\n', 'exited', /left processes/],
  [
    'too much memory',
    'head -c 200000000 /dev/zero | tail -c 150000000 | wc -c; exit 1\n',
    'out_of_memory',
    /memory|container ended/,
  ],
])('%s ends the container with it, which says so and takes no more', async (_name, script, kind, reason) => {
  const { call } = await open();
  const { end } = await call(script, { timeoutMs: kind === 'timed_out' ? 500 : 60_000 });
  expect(end.kind).toBe(kind);
  expect(exits).toEqual([expect.stringMatching(reason)]);
  expect(await harness.containers()).toEqual([]);
  await expect(call('true\n')).rejects.toMatchObject({ code: 'unavailable' });
  expect(exits.length).toBe(1);
});

test('a cancelled call ends the container', async () => {
  const { call } = await open();
  const abort = new AbortController();
  const calling = call('touch started; sleep 600\n', { signal: abort.signal });
  await eventually(
    'a process',
    async () => {
      const [id = ''] = await harness.containers();
      return (await harness.host.engine.processes(id)) > 2;
    },
    30_000,
  );
  abort.abort();
  expect((await calling).end).toEqual({ kind: 'cancelled' });
  expect(exits).toEqual([expect.stringContaining('cancelled')]);
});

test('a container that is removed by hand is told, with and without a call in hand', async () => {
  const idle = await open();
  for (const id of await harness.containers()) await harness.host.engine.remove(id);
  await eventually('its end to be told', () => exits.length === 1);
  await expect(idle.call('true\n')).rejects.toMatchObject({ code: 'unavailable' });
  const busy = await open();
  const calling = busy.call('sleep 600\n');
  const gone = expect(calling).rejects.toMatchObject({ code: 'unavailable' });
  await eventually(
    'a process',
    async () => {
      const [id = ''] = await harness.containers();
      return (await harness.host.engine.processes(id)) > 2;
    },
    30_000,
  );
  for (const id of await harness.containers()) await harness.host.engine.remove(id);
  await gone;
  expect(exits.length).toBe(2);
});

test('links that an earlier script put into the folder are not written through', async () => {
  const { call, workDir } = await open();
  const target = join(harness.dir, 'precious');
  await writeFile(target, 'precious');
  await call(
    `for i in 1 2 3; do ln -s ${target} ../.script-$i; done; ln -s ${target} "$0.next"; rm "$0"; ln -s ${target} "$0"\n`,
  );
  expect((await call('echo fine\n')).output).toBe('fine\n');
  expect(await readFile(target, 'utf8')).toBe('precious');
  expect(existsSync(workDir)).toBe(true);
});

test('what is not wanted any more, or cannot be, leaves nothing', async () => {
  await expect(open({}, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
  await expect(open({ image: `${imageName('absent')}:v1` })).rejects.toMatchObject({
    code: 'unprocessable',
    message: expect.stringContaining('was not found') as string,
  });
  expect(await harness.containers()).toEqual([]);
  const { warm, workDir } = await open();
  await warm.close();
  expect([existsSync(workDir), exits, await harness.containers()]).toEqual([false, [], []]);
});

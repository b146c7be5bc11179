import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '@sluice/shared/lifecycle';
import {
  createChildProcessScripts,
  killLeftovers,
  type ChildProcessScripts,
} from '../../src/adapters/index.ts';
import type { ScriptEnd, ScriptRequest } from '../../src/index.ts';
import { tempFolder, until } from './support.ts';

let dir: string;
let scripts: ChildProcessScripts;
const instance = `int-${process.pid}`;
let attempts = 0;

beforeAll(() => {
  dir = tempFolder();
  scripts = createChildProcessScripts({ clock: systemClock, pipeDir: join(dir, 'pipes'), graceMs: 300 });
});
afterAll(async () => {
  await scripts.stop();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => mkdirSync(join(dir, 'cwd')));
afterEach(() => rmSync(join(dir, 'cwd'), { recursive: true }));

interface Ran {
  readonly end: ScriptEnd;
  readonly text: string;
  readonly started: number;
}

async function run(text: string, more: Partial<ScriptRequest> = {}): Promise<Ran> {
  const scriptPath = join(dir, `script-${(attempts += 1)}.sh`);
  writeFileSync(scriptPath, text);
  const chunks: Uint8Array[] = [];
  let started = 0;
  const end = await scripts.run({
    scriptPath,
    cwd: join(dir, 'cwd'),
    env: { PATH: process.env['PATH'] ?? '', SLUICE_INSTANCE: instance, SLUICE_ATTEMPT: `run/${attempts}` },
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    onStarted: () => void (started += 1),
    onOutput: async (chunk) => void chunks.push(chunk),
    ...more,
  });
  return { end, text: Buffer.concat(chunks).toString(), started };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // Dead processes that nobody collected are still there.
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const pidIn = (name: string): number => Number(readFileSync(join(dir, 'cwd', name), 'utf8').trim());
const hasPid = (name: string) => (): boolean =>
  existsSync(join(dir, 'cwd', name)) && readFileSync(join(dir, 'cwd', name), 'utf8').endsWith('\n');

describe('a script', () => {
  test('runs under sh with its path as $0, whatever its first line and mode, in its folder', async () => {
    const { end, text, started } = await run('#!/no/such/program\necho "$0"; pwd; echo "$#"');
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(text).toBe(`${join(dir, `script-${attempts}.sh`)}\n${join(dir, 'cwd')}\n0\n`);
    expect(started).toBe(1);
  });

  test.each([0, 1, 3, 126, 137, 255])('ends with its exit code %i', async (exitCode) => {
    expect((await run(`exit ${exitCode}`)).end).toEqual({ kind: 'exited', exitCode });
  });

  test('ended by a signal of its own', async () => {
    expect((await run('kill -9 $$')).end).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });

  test('both outputs come in order', async () => {
    const { text } = await run('for i in 1 2 3 4 5 6 7 8 9; do echo "o$i"; echo "e$i" >&2; done');
    expect(text).toBe([1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => `o${i}\ne${i}\n`).join(''));
  });

  test('can open /dev/stdout and /dev/stderr, as with a pipe', async () => {
    const { end, text } = await run(
      'echo a > /dev/stdout && echo b > /dev/stderr && echo c | tee /dev/stderr',
    );
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(text).toBe('a\nb\nc\nc\n');
  });

  test('has nothing on standard input', async () => {
    expect((await run('cat; echo end')).text).toBe('end\n');
  });

  test('sees exactly the environment it was given', async () => {
    const { text } = await run('exec /usr/bin/env -0', { env: { A: '1', B: 'two\nlines' } });
    const names = text.split('\0').map((line) => line.split('=')[0]);
    expect(new Set(names)).toEqual(new Set(['A', 'B', 'PWD', '']));
    expect(text).toContain('B=two\nlines\0');
  });

  test('leads a process group of its own', async () => {
    const { text } = await run('echo $$; cat /proc/$$/stat');
    const [pid, stat] = text.split('\n');
    expect(stat?.split(') ')[1]?.split(' ')[2]).toBe(pid);
  });

  test('what it printed before it ended is not lost', async () => {
    const { text } = await run('head -c 60000 /dev/zero | tr "\\0" x; kill -9 $$');
    expect(text).toHaveLength(60_000);
  });
});

describe('the end of a script', () => {
  test('time-out', async () => {
    const { end } = await run('echo hello; sleep 60', { timeoutMs: 100 });
    expect(end).toEqual({ kind: 'timed_out' });
  });

  test('cancel', async () => {
    const abort = new AbortController();
    const { end, started } = await run('sleep 60', { signal: abort.signal, onStarted: () => abort.abort() });
    expect(end).toEqual({ kind: 'cancelled' });
    expect(started).toBe(0);
  });

  test('cancelled before it began', async () => {
    const { end, started } = await run('touch ran', { signal: AbortSignal.abort() });
    expect(end).toEqual({ kind: 'cancelled' });
    expect(started).toBe(0);
    expect(readdirSync(join(dir, 'cwd'))).toEqual([]);
  });

  test('SIGTERM comes first: the program that the shell waits for may tidy up', async () => {
    const program =
      "process.on('SIGTERM',()=>{console.log('tidy');process.exit(0)});console.log('up');setInterval(()=>{},1e3)";
    const patient = createChildProcessScripts({
      clock: systemClock,
      pipeDir: join(dir, 'patient'),
      graceMs: 10_000,
    });
    const abort = new AbortController();
    const scriptPath = join(dir, 'patient.sh');
    writeFileSync(scriptPath, `"${process.execPath}" -e "${program}"\necho not reached`);
    let said = '';
    const end = await patient.run({
      scriptPath,
      cwd: join(dir, 'cwd'),
      env: {},
      timeoutMs: 20_000,
      signal: abort.signal,
      onStarted: () => undefined,
      onOutput: async (chunk) => {
        said += Buffer.from(chunk).toString();
        if (said.includes('up')) abort.abort();
      },
    });
    await patient.stop();
    expect(end).toEqual({ kind: 'cancelled' });
    expect(said).toBe('up\ntidy\n');
  });

  test('who ignores SIGTERM gets SIGKILL after the grace', async () => {
    const { end } = await run(
      "trap '' TERM; echo $$ > shell; sh -c 'echo $$ > child; while :; do sleep 1; done'",
      {
        timeoutMs: 200,
      },
    );
    expect(end).toEqual({ kind: 'timed_out' });
    expect(isAlive(pidIn('shell'))).toBe(false);
    expect(isAlive(pidIn('child'))).toBe(false);
  });

  test('what it left in the background is ended with it, and does not hold its output open', async () => {
    const start = performance.now();
    const { end, text } = await run('sleep 60 & echo $! > left; (sleep 60; echo late) & echo done');
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(text).toBe('done\n');
    await until(() => !isAlive(pidIn('left')), 'the background process is gone');
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test('who left the group is found when the attempt is cancelled', async () => {
    const abort = new AbortController();
    const running = run(
      'setsid sh -c \'trap "" TERM; setsid sh -c "echo \\$\\$ > escaped; exec sleep 60"\' & sleep 60',
      {
        signal: abort.signal,
      },
    );
    await until(hasPid('escaped'), 'the process left its group');
    abort.abort();
    expect((await running).end).toEqual({ kind: 'cancelled' });
    expect(isAlive(pidIn('escaped'))).toBe(false);
  });

  test('who left the group and holds the output open is found after a normal end', async () => {
    const { end, text } = await run(
      "setsid sh -c 'echo $$ > escaped; exec sleep 60' & while [ ! -s escaped ]; do :; done; echo done",
    );
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(text).toBe('done\n');
    expect(isAlive(pidIn('escaped'))).toBe(false);
  });

  test('who hides its environment and keeps writing cannot hold the run, nor write into another', async () => {
    const { end } = await run(
      'setsid env -i PATH="$PATH" sh -c \'echo $$ > hidden; while echo stray; do sleep 0.05; done\' & while [ ! -s hidden ]; do :; done',
    );
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect((await run('sleep 0.3; echo clean')).text).toBe('clean\n');
    // Nobody reads its output any more, which ends it.
    await until(() => !isAlive(pidIn('hidden')), 'the writer got SIGPIPE');
  });
});

describe('output and pipes', () => {
  test('a slow reader makes the script wait, and nothing is lost', async () => {
    const gate = Promise.withResolvers<void>();
    let bytes = 0;
    let first = true;
    const running = run('head -c 3000000 /dev/zero; echo > printed', {
      onOutput: async (chunk) => {
        bytes += chunk.length;
        if (first) await gate.promise;
        first = false;
      },
    });
    await until(() => bytes > 0, 'the first piece came');
    await systemClock.sleep(100);
    expect(existsSync(join(dir, 'cwd', 'printed'))).toBe(false);
    gate.resolve();
    await running;
    expect(bytes).toBe(3_000_000);
  });

  test('many at once do not mix; pipes are used again', async () => {
    for (let round = 0; round < 3; round += 1) {
      const all = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => run(`echo ${index}; sleep 0.05; echo ${index}`)),
      );
      expect(all.map((one) => one.text)).toEqual(all.map((_, index) => `${index}\n${index}\n`));
    }
    expect(readdirSync(join(dir, 'pipes')).length).toBeLessThanOrEqual(16);
  });

  test('pipes that were removed are made again', async () => {
    await run('true');
    for (const name of readdirSync(join(dir, 'pipes'))) rmSync(join(dir, 'pipes', name));
    expect((await run('echo still')).text).toBe('still\n');
  });

  test('no descriptor stays open', async () => {
    await run('true');
    const before = readdirSync('/proc/self/fd').length;
    for (let index = 0; index < 20; index += 1) await run('echo x');
    await run('sleep 9', { timeoutMs: 50 });
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  });

  test('a consumer that fails is told, and the pipe is not used again', async () => {
    const failing = run('echo x; echo y', {
      onOutput: () => Promise.reject(new Error('no more')),
    });
    await expect(failing).rejects.toThrow('no more');
    expect((await run('echo next')).text).toBe('next\n');
  });
});

describe('what cannot be started', () => {
  test('a script in a folder that is gone', async () => {
    await expect(run('true', { cwd: join(dir, 'none') })).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('an environment that is too large', async () => {
    const env = { A: 'x'.repeat(200_000) };
    await expect(run('true', { env })).rejects.toMatchObject({ name: 'AppError', code: 'too_large' });
    const before = readdirSync('/proc/self/fd').length;
    await expect(run('true', { env })).rejects.toMatchObject({ code: 'too_large' });
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});

describe('when something else dies', () => {
  test('the helper that starts scripts: the run is told, its script is gone, the next one runs', async () => {
    let said = '';
    const running = run('echo $PPID; setsid sh -c "echo \\$\\$ > escaped; exec sleep 60" & sleep 60', {
      onOutput: async (chunk) => void (said += Buffer.from(chunk).toString()),
    });
    const told = expect(running).rejects.toMatchObject({ name: 'AppError', code: 'unavailable' });
    await until(() => said.endsWith('\n') && hasPid('escaped')(), 'the script runs');
    process.kill(Number(said), 'SIGKILL');
    await told;
    expect(isAlive(pidIn('escaped'))).toBe(false);
    expect((await run('echo next')).text).toBe('next\n');
  });

  test('the server, by kill -9: its scripts go with it', async () => {
    const program = fileURLToPath(new URL('orphan-child.ts', import.meta.url));
    const cwd = join(dir, 'cwd');
    const server = spawn(process.execPath, [program, cwd], { stdio: ['ignore', 'inherit', 'inherit'] });
    await until(hasPid('shell'), 'the script runs');
    server.kill('SIGKILL');
    await until(() => !isAlive(pidIn('shell')) && !isAlive(pidIn('child')), 'the script is gone');
    expect(server.killed).toBe(true);
  });
});

describe('leftovers of a server that was killed', () => {
  test('are found by the instance, ended, and gone', async () => {
    const mine = `leftovers-${process.pid}`;
    const start = (env: Record<string, string>) => {
      const child = spawn('/bin/sh', ['-c', "trap '' TERM; sleep 60 & wait"], {
        env: { ...env, PATH: process.env['PATH'] },
        detached: true,
        stdio: 'ignore',
      });
      return child.pid ?? 0;
    };
    const two = [start({ SLUICE_INSTANCE: mine }), start({ SLUICE_INSTANCE: mine, X: '1' })];
    const other = start({ SLUICE_INSTANCE: `${mine}-other` });
    try {
      await until(() => [...two, other].every(isAlive), 'they run');
      const { ended, remaining } = await killLeftovers(mine, { clock: systemClock });
      expect(remaining).toBe(0);
      expect(ended).toBeGreaterThanOrEqual(2);
      expect(two.some(isAlive)).toBe(false);
      expect(isAlive(other)).toBe(true);
      expect(await killLeftovers(mine, { clock: systemClock })).toEqual({ ended: 0, remaining: 0 });
    } finally {
      process.kill(-other, 'SIGKILL');
    }
  });
});

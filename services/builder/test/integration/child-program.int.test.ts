import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { runProgram, type ProgramEnd, type ProgramRequest } from '../../src/adapters/child-program.ts';

let lines: string[];
let abort: AbortController;

beforeEach(() => {
  lines = [];
  abort = new AbortController();
});

function run(script: string, more: Partial<ProgramRequest> = {}): Promise<ProgramEnd> {
  return runProgram(systemClock, {
    program: '/bin/sh',
    args: ['-c', script],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    timeoutMs: 20_000,
    graceMs: 5000,
    signal: abort.signal,
    maxLine: 1000,
    onLine: (line) => {
      lines.push(line);
      return Promise.resolve();
    },
    ...more,
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('lines of standard error come in order, the last one without an end too', async () => {
  expect(await run('echo hidden; printf "one\\n\\ntwo" >&2; exit 3')).toEqual({ kind: 'exited', code: 3 });
  expect(lines).toEqual(['one', 'two']);
  expect(await run('kill -9 $$')).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
});

test('a line that is too long is left out, those around it are not', async () => {
  const long = `head -c 300000 /dev/zero | tr '\\0' x >&2`;
  await run(`echo before >&2; ${long}; echo >&2; echo after >&2; ${long}`);
  expect(lines).toEqual(['before', 'after']);
});

test('nothing is inherited', async () => {
  await run('env >&2', { env: { PATH: '/usr/bin:/bin', ONLY: 'this' } });
  expect(lines.filter((line) => !/^(?:PWD|_|SHLVL|OLDPWD)=/.test(line)).sort()).toEqual([
    'ONLY=this',
    'PATH=/usr/bin:/bin',
  ]);
});

test('a reader that is slow gets every line, one at a time', async () => {
  const first = Promise.withResolvers<void>();
  const script = 'i=0; while [ $i -lt 20000 ]; do echo "line $i and what goes with it" >&2; i=$((i+1)); done';
  let begun = 0;
  const ended = run(`${script}; echo done >&2`, {
    onLine: async (line) => {
      begun += 1;
      await first.promise;
      lines.push(line);
    },
  });
  await eventually('a line is in hand', () => begun === 1);
  expect(lines).toEqual([]);
  first.resolve();
  expect(await ended).toEqual({ kind: 'exited', code: 0 });
  expect(begun).toBe(20_001);
  expect(lines.at(-1)).toBe('done');
});

test('what does not listen to SIGTERM is killed, with what it has started', async () => {
  const ended = run('trap "" TERM; sleep 1000 & echo $! >&2; echo $$ >&2; while :; do wait; done', {
    graceMs: 100,
  });
  await eventually('it runs', () => lines.length === 2);
  abort.abort();
  expect(await ended).toEqual({ kind: 'cancelled' });
  for (const pid of lines) await eventually('it is gone', () => !isAlive(Number(pid)));
});

test('one that is blocked by a reader can be cancelled', async () => {
  const never = Promise.withResolvers<void>();
  let begun = false;
  const ended = run('yes >&2', {
    onLine: () => {
      begun = true;
      return never.promise;
    },
  });
  await eventually('a line is in hand', () => begun);
  abort.abort();
  expect(await ended).toEqual({ kind: 'cancelled' });
});

test('a reader that hangs after the end does not outlast the time', async () => {
  const never = Promise.withResolvers<void>();
  expect(await run('echo x >&2', { onLine: () => never.promise, timeoutMs: 300 })).toEqual({
    kind: 'exited',
    code: 0,
  });
});

test('the end is told after the last line, once, and not to one that is gone', async () => {
  const onEnd = (): Promise<void> => {
    lines.push('end');
    return Promise.resolve();
  };
  await run('echo one >&2', { onEnd });
  expect(lines).toEqual(['one', 'end']);
  expect(await run('sleep 1000', { onEnd, timeoutMs: 50 })).toEqual({ kind: 'timed_out' });
  expect(lines).toEqual(['one', 'end']);
});

test('a reader that fails ends the program', async () => {
  const broken = new Error('broken');
  const started = performance.now();
  await expect(run('echo x >&2; sleep 1000', { onLine: () => Promise.reject(broken) })).rejects.toBe(broken);
  expect(performance.now() - started).toBeLessThan(5000);
});

test('time and signal end it; one that is not there is said', async () => {
  expect(await run('sleep 1000', { timeoutMs: 100 })).toEqual({ kind: 'timed_out' });
  abort.abort();
  expect(await run('echo x >&2')).toEqual({ kind: 'cancelled' });
  expect(lines).toEqual([]);
  await expect(
    run('', { program: 'no-such-program', signal: new AbortController().signal }),
  ).rejects.toMatchObject({
    code: 'unavailable',
    details: { reason: 'builder_unavailable' },
    message: expect.stringContaining('no-such-program'),
  });
});

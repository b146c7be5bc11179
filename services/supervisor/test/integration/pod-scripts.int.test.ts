import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAppError } from '@sluice/shared/errors';
import { eventually } from '@sluice/shared/testing';
import { describe, expect, it } from 'vitest';
import { openPodFolder } from '../../src/adapters/pod-folder.ts';
import { listOutputFiles } from '../../src/files/output-files.ts';
import { ask, makePodFolder, shells, startPod } from './pod-support.ts';

describe.each(shells)('a script of a pod under %s', (...shell) => {
  it('gets its environment on top of the image’s, and prints both streams in order', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const odd = `it's "x"\n$HOME \`a\` \\ ü ${'y'.repeat(100_000)}`;
    const script = 'echo "$IMAGE"; echo err >&2; pwd; printf %s "$ODD"; echo "$UID_X"; id -u; exit 3';
    const env = { ODD: odd, UID: '4711', 'not-a-name': 'x', UID_X: 'z' };
    const notes: string[] = [];
    const run = await ask(scripts, pod.folder, script, { env, onNote: (note) => notes.push(note) });
    expect(await run.end).toEqual({ kind: 'exited', exitCode: 3 });
    expect(run.printed()).toBe(`of the image\nerr\n${run.work.root}\n${odd}z\n${process.getuid?.()}\n`);
    expect(notes).toEqual(['1 variables have names that a shell cannot hand on and are left out']);
    scripts.release(3);
    expect(await pod.ended).toBe(3);
    await scripts.ended(new AbortController().signal);
  });

  it('gets 800 KiB of variables', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const env = Object.fromEntries(Array.from({ length: 8 }, (_, at) => [`V${at}`, 'x'.repeat(100_000)]));
    const run = await ask(scripts, pod.folder, 'echo ${#V0} ${#V7}', { env });
    expect(await run.end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(run.printed()).toBe('100000 100000\n');
  });

  it('waits while nobody takes what it prints, and loses nothing', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    let bytes = 0;
    const gate = Promise.withResolvers<void>();
    const script = 'head -c 1000000 /dev/zero | tr "\\0" x; echo > "$TMP_OUTPUT_DIR/all"';
    const run = await ask(scripts, pod.folder, script, {
      onOutput: async (chunk) => {
        await gate.promise;
        bytes += chunk.length;
      },
    });
    await run.started;
    await expect(
      eventually('an end that must not come', () => existsSync(join(run.work.output, 'all')), 300),
    ).rejects.toThrow('must not come');
    gate.resolve();
    expect(await run.end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(bytes).toBe(1_000_000);
  });

  it('is ended by a time-out, by its signal first', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const script = 'trap "echo ends; exit 0" TERM; echo runs; while :; do sleep 0.05; done';
    const run = await ask(scripts, pod.folder, script, { timeoutMs: 500 });
    expect(await run.end).toEqual({ kind: 'timed_out' });
    expect(run.printed()).toMatch(/^runs\n(?:Terminated\n)?ends\n$/);
    expect(scripts.isSpent()).toBe(true);
    scripts.release(1);
    expect(await pod.ended).toBe(1);
  });

  it('is ended with its container when it does not listen', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open(200);
    const abort = new AbortController();
    const script = 'trap "" TERM; echo runs; while :; do sleep 0.05; done';
    const run = await ask(scripts, pod.folder, script, { signal: abort.signal });
    await eventually('its first line', () => run.printed() !== '');
    abort.abort();
    expect(await run.end).toEqual({ kind: 'cancelled' });
    expect(await pod.ended).toBe(137);
    expect(scripts.lost()).toBeUndefined();
  });

  it('is ended when the pod is deleted', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const run = await ask(scripts, pod.folder, 'echo $$; echo runs; exec sleep 100');
    await eventually('its first line', () => run.printed().includes('runs'));
    execFileSync('pkill', ['-TERM', '-P', String(pod.shim.pid)]);
    expect(await run.end).toEqual({ kind: 'cancelled' });
    expect(scripts.lost()).toBe('asked');
    expect(await pod.ended).toBe(143);
  });

  it('of a patient supervisor goes on when the pod is deleted, until it ends or is told to', async () => {
    const script = 'echo runs; until [ -e go ]; do sleep 0.02; done; echo ends; exit 4';
    const done = startPod(shell);
    const run = await ask(await done.open(1000, true), done.folder, script);
    await eventually('its first line', () => run.printed() === 'runs\n');
    execFileSync('pkill', ['-TERM', '-P', String(done.shim.pid)]);
    await eventually('the word of the shim', () => existsSync(join(done.folder, 'term')));
    writeFileSync(join(run.work.root, 'go'), '');
    expect(await run.end).toEqual({ kind: 'exited', exitCode: 4 });
    expect(run.printed()).toBe('runs\nends\n');
    expect(await done.ended).toBe(143);

    const stopped = startPod(shell);
    const stop = new AbortController();
    const cut = await ask(await stopped.open(1000, true), stopped.folder, script, { signal: stop.signal });
    await eventually('its first line', () => cut.printed() === 'runs\n');
    execFileSync('pkill', ['-TERM', '-P', String(stopped.shim.pid)]);
    await eventually('the word of the shim', () => existsSync(join(stopped.folder, 'term')));
    stop.abort();
    expect(await cut.end).toEqual({ kind: 'cancelled' });
    expect(await stopped.ended).toBe(143);
  });

  it('is followed by another one, and leaves nothing behind', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const first = await ask(scripts, pod.folder, '(setsid sleep 1000 &); sleep 1000 & echo one', {
      name: 'a',
    });
    expect(await first.end).toEqual({ kind: 'exited', exitCode: 0 });
    const second = await ask(
      scripts,
      pod.folder,
      'cat /proc/[0-9]*/stat | grep "(sleep)" | grep -vc " Z "; echo two',
      {
        name: 'b',
      },
    );
    expect(await second.end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(second.printed()).toBe('0\ntwo\n');
  });

  it('is lost with its container', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const run = await ask(scripts, pod.folder, 'echo runs; sleep 100');
    await eventually('its first line', () => run.printed() !== '');
    pod.kill();
    const error: unknown = await run.end.catch((reason: unknown) => reason);
    expect(isAppError(error, 'unavailable')).toBe(true);
    expect(scripts.lost()).toBe('gone');
  });

  it('that kills all it can is a script that was killed', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const run = await ask(scripts, pod.folder, 'echo runs; kill -9 -1; kill -9 $$');
    expect(await run.end).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
    expect(scripts.isSpent()).toBe(true);
  });

  it('is gone on with by a supervisor that was started again, wherever the first one died', async () => {
    const pod = startPod(shell);
    const dead = await pod.open();
    const script =
      'echo before; until [ -e "$TMP_OUTPUT_DIR/../go" ]; do sleep 0.02; done; echo after; exit 4';
    const lost = await ask(dead, pod.folder, script);
    await eventually('the first line', () => lost.printed() === 'before\n');
    dead.close();
    const running = await pod.open();
    expect(running.isResumed).toBe(true);
    const again = await ask(running, pod.folder, 'echo never', { name: 'again' });
    execFileSync('touch', [join(lost.work.root, 'go')]);
    expect(await again.end).toEqual({ kind: 'exited', exitCode: 4 });
    // The first one's reader is not dead in this process: who gets the line is not told.
    expect(lost.printed() + again.printed()).toBe('before\nafter\n');
    const ended = await pod.open();
    const third = await ask(ended, pod.folder, 'echo never', { name: 'third' });
    expect(await third.end).toEqual({ kind: 'exited', exitCode: 4 });
    ended.release(4);
    expect(await pod.ended).toBe(4);
    expect((await pod.open()).isReleased()).toBe(true);
  });

  it.each([
    [
      'writes another end',
      'echo "exit 0 end" > ../1/exit; echo > ../pipes/done; sleep 100',
      { kind: 'exited', exitCode: 0 },
    ],
    [
      'links the end elsewhere',
      'ln -s /etc/passwd ../1/exit; exit 5',
      { kind: 'signalled', signal: 'SIGKILL' },
    ],
    ['writes a huge end', 'head -c 5000000 /dev/zero > ../1/exit; exit 5', { kind: 'exited', exitCode: 5 }],
    [
      'replaces the pipes',
      'rm ../pipes/*; echo x > ../pipes/wake; ln -s /dev/zero ../pipes/out; exit 5',
      { kind: 'exited', exitCode: 5 },
    ],
    [
      'closes itself off',
      'umask 077; echo x > "$TMP_OUTPUT_DIR/x"; chmod 0 ..; exit 5',
      { kind: 'exited', exitCode: 5 },
    ],
  ])('that %s fools nobody but itself', async (_what, script, end) => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const run = await ask(scripts, pod.folder, script);
    expect(await run.end).toEqual(end);
    scripts.release(7);
    expect(await pod.ended).toBe(7);
  });

  it('that removes the shared folder has failed, and its container can still be ended', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const run = await ask(scripts, pod.folder, 'rm -rf ../* ../.[a-z]*; exit 5');
    await expect(run.end).rejects.toThrow('removed what its container shares');
    scripts.release(7);
    expect(await pod.ended).toBe(7);
  });

  it('cannot have the supervisor upload what it may not read itself', async () => {
    const pod = startPod(shell);
    const scripts = await pod.open();
    const script = 'cd "$TMP_OUTPUT_DIR"; ln -s /proc/self/environ a; mkfifo b; ln -s / c; echo x > d';
    const run = await ask(scripts, pod.folder, script);
    expect(await run.end).toEqual({ kind: 'exited', exitCode: 0 });
    const { files, skipped } = await listOutputFiles(run.work.output, 100);
    expect(files.map(({ name }) => name)).toEqual(['d']);
    expect(skipped.map(({ reason }) => reason).toSorted()).toEqual(['a link', 'a link', 'a named pipe']);
  });
});

it('a shim that comes before its supervisor waits for it', async () => {
  const pod = startPod(['dash']);
  const folder = makePodFolder();
  const late = startPod(['dash'], folder);
  const scripts = await late.open();
  const run = await ask(scripts, folder, 'echo here');
  expect(await run.end).toEqual({ kind: 'exited', exitCode: 0 });
  expect(readFileSync(join(folder, '1', 'exit'), 'utf8')).toBe('exit 0 end\n');
  expect(existsSync(join(pod.folder, 'ready'))).toBe(false);
});

it('hands over no file that a link leads to: an image may have put one in place of the script', () => {
  const folder = makePodFolder();
  const work = join(folder, 'work');
  for (const dir of ['', 'input', 'output']) mkdirSync(join(work, dir));
  mkdirSync(join(folder, 'real'));
  writeFileSync(join(folder, 'real', 'text'), 'id\n');
  symlinkSync('/proc/self/environ', join(folder, 'link'));
  symlinkSync(join(folder, 'real'), join(folder, 'by-folder'));
  const files = openPodFolder(folder);
  for (const path of [join(folder, 'link'), join(folder, 'by-folder', 'text'), join(folder, 'absent')]) {
    expect(() => files.begin(1, { path, env: '', cwd: work })).toThrow('tampered');
  }
  expect(existsSync(join(folder, '1'))).toBe(false);
  files.begin(1, { path: join(folder, 'real', 'text'), env: '', cwd: work });
  expect(readFileSync(join(folder, '1', 'script'), 'utf8')).toBe('id\n');
});

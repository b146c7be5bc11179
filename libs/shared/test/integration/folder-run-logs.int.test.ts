import { spawnSync } from 'node:child_process';
import { appendFile, chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createFolderRunLogs } from '../../src/adapters/folder-run-logs.ts';
import { systemClock, type Clock } from '../../src/lifecycle/index.ts';
import type { RunLogs } from '../../src/stores/index.ts';
import { describeRunLogs } from '../../src/testing/run-logs.suite.ts';
import { makeFolder } from './folder-fixture.ts';

describeRunLogs('folders', async () => {
  const root = await makeFolder();
  return {
    logs: createFolderRunLogs({ root, clock: systemClock, maxBytes: 4096 }),
    maxBytes: 4096,
    close: async () => rm(root, { recursive: true }),
  };
});

const ref = { service: 'thumbnail', runId: 'thumbnail-0001' };

async function makeLogs(
  options: { clock?: Clock; root?: string; maxBytes?: number } = {},
): Promise<{ root: string; file: string; logs: RunLogs }> {
  const root = options.root ?? (await makeFolder());
  if (options.root === undefined) onTestFinished(async () => rm(root, { recursive: true, force: true }));
  const { clock = systemClock, maxBytes = 10_000 } = options;
  return {
    root,
    file: join(root, 'thumbnail', 'thumbnail-0001.log'),
    logs: createFolderRunLogs({ root, clock, maxBytes }),
  };
}

/** A clock whose sleepers wake when they are told to. */
function steppedClock(): { clock: Clock; step(): void } {
  let wake: (() => void)[] = [];
  return {
    clock: {
      now: () => 1_767_322_445_678,
      monotonic: () => 0,
      sleep: async () =>
        new Promise((resolve) => {
          wake.push(resolve);
        }),
    },
    step: () => {
      const due = wake;
      wake = [];
      for (const resolve of due) resolve();
    },
  };
}

describe('log files', () => {
  it('are made on the first line only, and are there to be looked at', async () => {
    const { root, file, logs } = await makeLogs({ clock: steppedClock().clock });
    const silent = await logs.open(ref);
    await silent.close();
    expect(await readdir(root)).toEqual([]);
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('hello\n'));
    expect(await readdir(root)).toEqual([]);
    await writer.close();
    expect(await readFile(file, 'utf8')).toBe('2026-01-02T02:54:05.678Z hello\n');
    await logs.remove([ref]);
    expect(await readdir(root)).toEqual([]);
  });

  it('get what was printed within a quarter of a second, without a reader', async () => {
    const { clock, step } = steppedClock();
    const { file, logs } = await makeLogs({ clock });
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('one\n'));
    await writer.write(Buffer.from('two\n'));
    step();
    await expect.poll(async () => readFile(file, 'utf8').catch(() => '')).toMatch(/one\n.*two\n$/);
    await writer.write(Buffer.from('three\n'));
    step();
    await expect.poll(async () => readFile(file, 'utf8')).toMatch(/three\n$/);
    await writer.close();
  });

  it('get a large output at once, in order', async () => {
    const { file, logs } = await makeLogs({ clock: steppedClock().clock, maxBytes: 1_000_000 });
    const writer = await logs.open(ref);
    for (let at = 0; at < 100; at += 1) await writer.write(Buffer.from(`${at}${'x'.repeat(3000)}\n`));
    expect((await stat(file)).size).toBeGreaterThan(200_000);
    expect(await writer.close()).toMatchObject({ dropped: 0 });
    const lines = (await readFile(file, 'utf8')).split('\n');
    expect(lines.slice(0, -1).map((line) => Number.parseInt(line.slice(25), 10))).toEqual(
      Array.from({ length: 100 }, (_, at) => at),
    );
  });

  it('of a killed process are complete, and go on with the next attempt on a new line', async () => {
    const { root, file, logs } = await makeLogs();
    await mkdir(join(root, 'thumbnail'));
    await writeFile(file, '2026-01-02T03:04:05.678Z whole\n2026-01-02T03:04:05.678Z cut of');
    const chunk = await logs.read(ref, { offset: 0, limit: 1000 });
    expect(chunk?.complete).toBe(true);
    expect(Buffer.from(chunk?.data ?? []).toString()).toMatch(/cut of$/);
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('again\n'));
    await writer.close();
    expect((await readFile(file, 'utf8')).split('\n').map((line) => line.slice(25))).toEqual([
      'whole',
      'cut of',
      'again',
      '',
    ]);
  });

  it('are not written or read through a link', async () => {
    const { root, file, logs } = await makeLogs();
    await mkdir(join(root, 'thumbnail'));
    await writeFile(join(root, 'other'), 'mine\n');
    await symlink(join(root, 'other'), file);
    expect(await logs.read(ref, { offset: 0, limit: 1000 })).toBeUndefined();
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('x\n'));
    expect(await writer.close()).toEqual({ bytes: 2, dropped: 2 });
    expect(await readFile(join(root, 'other'), 'utf8')).toBe('mine\n');
  });

  it('see another program append to them', async () => {
    const { file, logs } = await makeLogs();
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('one\n'));
    await writer.close();
    await appendFile(file, 'two\n');
    const chunk = await logs.read(ref, { offset: 0, limit: 1000 });
    expect(Buffer.from(chunk?.data ?? []).toString()).toMatch(/one\ntwo\n$/);
  });
});

describe('a disk that fails', () => {
  it('costs lines, not the run', async () => {
    const { root, logs } = await makeLogs();
    // A file in the place of the folder: a failure that rights do not hide from root.
    await writeFile(join(root, 'thumbnail'), '');
    const writer = await logs.open(ref);
    await writer.write(Buffer.alloc(100_000, 'x\n'));
    await writer.write(Buffer.from('more\n'));
    expect(await writer.close()).toEqual({ bytes: 100_005, dropped: 100_005 });
  });

  it('is named in the log once it works again, and the last lines are there', async () => {
    const { root, file, logs } = await makeLogs({ maxBytes: 10_000_000 });
    await writeFile(join(root, 'thumbnail'), '');
    const writer = await logs.open(ref);
    await writer.write(Buffer.alloc(200_000, 'x\n'));
    await rm(join(root, 'thumbnail'));
    await writer.write(Buffer.from('the end\n'));
    const { bytes, dropped } = await writer.close();
    expect(bytes).toBe(200_008);
    const [notice, ...lines] = (await readFile(file, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(25));
    expect(notice).toBe(
      `[sluice] ${dropped} bytes of output are left out here: the log could not be written (ENOTDIR).`,
    );
    expect(lines.pop()).toBe('the end');
    expect(new Set(lines)).toEqual(new Set(['x']));
    expect(lines.length * 2 + 8).toBe(bytes - dropped);
  });

  it('that is full keeps what it has room for', async () => {
    const path = await makeFolder();
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=131072', 'tmpfs', path], {
      encoding: 'utf8',
    });
    onTestFinished(async () => {
      spawnSync('umount', ['-l', path]);
      await rm(path, { recursive: true });
    });
    if (mount.status !== 0) {
      console.info(
        `full disk: an unwritable folder stands in here, since no tmpfs can be mounted: ${mount.stderr.trim()}`,
      );
      await chmod(path, 0o555);
      if (process.getuid?.() === 0) await writeFile(join(path, 'thumbnail'), '');
    }
    const { file, logs } = await makeLogs({ root: path, maxBytes: 10_000_000 });
    const writer = await logs.open(ref);
    for (let at = 0; at < 40; at += 1) await writer.write(Buffer.from(`${'y'.repeat(9999)}\n`));
    const full = await writer.close();
    expect(full.bytes).toBe(400_000);
    expect(full.dropped).toBeGreaterThan(200_000);
    if (mount.status !== 0) return;
    const text = await readFile(file, 'utf8');
    expect(text.length).toBeGreaterThan(60_000);
    // What stands in the file and what is said to be missing make the whole.
    const whole = text.split('\n').filter((line) => line.length === 25 + 9999).length * 10_000;
    expect(full.bytes - full.dropped).toBe(whole);
  });
});

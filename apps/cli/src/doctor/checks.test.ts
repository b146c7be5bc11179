import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataFolderChecks, engineChecks, inotifyChecks, nodeCheck, spaceCheck } from './machine.ts';
import { clockCheck } from './server.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sluice-doctor-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

it('asks for a Node that is new enough', () => {
  expect([nodeCheck('24.0.0'), nodeCheck('22.9.0')].map(({ status }) => status)).toEqual(['ok', 'fail']);
});

describe('the clock', () => {
  const date = 'Fri, 02 Jan 2026 03:04:05 GMT';
  const at = Date.parse(date);

  it.each([
    [at, at + 500, 'ok'],
    [at - 20_000, at - 10_000, 'ok'],
    [at - 60_000, at - 40_000, 'warn'],
    [at + 40_000, at + 50_000, 'warn'],
    // An answer that took long is no skew.
    [at - 60_000, at + 60_000, 'ok'],
  ])('asked at %i and answered at %i is %s', (asked, answered, status) => {
    expect(clockCheck(date, asked, answered)?.status).toBe(status);
  });

  it('is not judged without a date', () => {
    expect(clockCheck(undefined, 0, 0)).toBeUndefined();
  });
});

describe('this machine', () => {
  const MiB = 1024 * 1024;

  it('has room, little, or none', () => {
    const states = [5000 * MiB, 500 * MiB, 50 * MiB].map((free) => spaceCheck(free).status);
    expect(states).toEqual(['ok', 'warn', 'fail']);
  });

  it('has a data folder, or not', async () => {
    expect((await dataFolderChecks(folder)).map(({ check }) => check)).toEqual(['data folder', 'disk']);
    expect(await dataFolderChecks(path.join(folder, 'missing'))).toMatchObject([{ status: 'fail' }]);
  });

  it('has limits on watching folders, named with what to set', async () => {
    expect(await inotifyChecks(path.join(folder, 'missing'))).toEqual([]);
    writeFileSync(path.join(folder, 'max_user_watches'), '8192\n');
    writeFileSync(path.join(folder, 'max_user_instances'), '128\n');
    const [check] = await inotifyChecks(folder);
    expect(check).toMatchObject({ status: 'warn', detail: '8192 watches, 128 instances' });
    expect(check?.mend).toContain('fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=128');
    writeFileSync(path.join(folder, 'max_user_watches'), '524288\n');
    expect(await inotifyChecks(folder)).toMatchObject([{ status: 'ok' }]);
  });

  it('has an engine where DOCKER_HOST names its socket', async () => {
    expect(await engineChecks(undefined)).toEqual([]);
    expect(await engineChecks('tcp://x:1')).toEqual([]);
    writeFileSync(path.join(folder, 'sock'), '');
    expect(await engineChecks(`unix://${folder}/sock`)).toMatchObject([{ status: 'ok' }]);
    expect(await engineChecks(`unix://${folder}/none`)).toMatchObject([{ status: 'warn' }]);
  });
});

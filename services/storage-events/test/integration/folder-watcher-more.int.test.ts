import { chmod, copyFile, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openFolders, type Folders } from '../support/folders.ts';
import { settleMs, watchFolders, type Watched } from '../support/watched.ts';

let folders: Folders;
let watched: Watched;
let input: string;
let outside: string;

beforeEach(async () => {
  folders = await openFolders();
  input = join(folders.buckets, 'photos/in');
  outside = join(folders.dir, 'outside');
  await mkdir(input, { recursive: true });
  await mkdir(outside);
  await writeFile(join(input, 'old.txt'), 'there before');
  watched = await watchFolders(folders, ['photos/in', 'photos/later/deep', 'whole-bucket']);
});
afterEach(async () => {
  await watched.source.stop();
  await folders.close();
});

describe('objects written through the store', () => {
  test('are handed over at once with their metadata, and once', async () => {
    await folders.objects.createBucket('whole-bucket', {});
    const head = await folders.objects.put('whole-bucket', 'out.txt', Buffer.from('x'), {
      metadata: { 'sluice-hop': '3' },
    });
    const { object } = await watched.handedOver('whole-bucket/out.txt');
    expect(object).toEqual(head);
    await folders.objects.put('whole-bucket', '.hidden', Buffer.from('x'));
    await folders.objects.put('photos', 'elsewhere/a', Buffer.from('x'));
    await watched.passed();
    await watched.passed();
    expect(watched.others()).toEqual(['whole-bucket/out.txt']);
  });

  test('keep their metadata when only a look finds them', async () => {
    await watched.source.stop();
    await folders.objects.put('photos', 'in/out.txt', Buffer.from('x'), { metadata: { 'sluice-hop': '3' } });
    watched = await watchFolders(folders, ['photos/in']);
    await chmod(join(input, 'out.txt'), 0o640);
    expect((await watched.handedOver('photos/in/out.txt')).object.metadata).toEqual({ 'sluice-hop': '3' });
  });
});

describe('under pressure', () => {
  test('thousands of files at once come in batches of at most 500, each once', async () => {
    await mkdir(join(outside, 'many'));
    const count = 2000;
    for (let n = 0; n < count; n += 1) await writeFile(join(outside, 'many', `f${n}`), '');
    await Promise.all([
      rename(join(outside, 'many'), join(input, 'many')),
      ...Array.from({ length: 500 }, (_, n) => writeFile(join(input, `g${n}`), `${n}`)),
    ]);
    await eventually('all are handed over', () => watched.keys().length >= count + 500, 20_000);
    await watched.passed();
    expect(new Set(watched.others()).size).toBe(count + 500);
    expect(watched.others().length).toBe(count + 500);
    expect(Math.max(...watched.batches)).toBeLessThanOrEqual(500);
  });

  test('what was not taken is given again', async () => {
    watched.refuse = true;
    await writeFile(join(input, 'a'), 'x');
    await folders.objects.put('photos', 'in/b', Buffer.from('x'));
    await eventually(
      'the file has settled',
      async () => Date.now() - (await stat(join(input, 'a'))).ctimeMs > 4 * settleMs,
    );
    expect(watched.keys()).toEqual([]);
    watched.refuse = false;
    await watched.handedOver('photos/in/a');
    await watched.handedOver('photos/in/b');
    await watched.passed();
    // Two ways lead to an object that was put, so it may come twice while batches are refused.
    expect(new Set(watched.others())).toEqual(new Set(['photos/in/a', 'photos/in/b']));
  });

  test('past its room for candidates it asks for a listing', async () => {
    await watched.source.stop();
    watched = await watchFolders(folders, ['photos/in'], { maxCandidates: 100 });
    await Promise.all(Array.from({ length: 400 }, (_, n) => writeFile(join(input, `f${n}`), '')));
    await eventually('a listing is asked for', () => watched.gaps.length > 0);
    expect(watched.gaps[0]).toEqual({ bucket: 'photos', prefix: 'in/' });
    // A folder that is moved in is read bit by bit instead, and none of it is lost.
    await mkdir(join(outside, 'many'));
    for (let n = 0; n < 400; n += 1) await writeFile(join(outside, 'many', `f${n}`), '');
    await rename(join(outside, 'many'), join(input, 'many'));
    await eventually(
      'all of the folder is handed over',
      () => watched.keys().filter((path) => path.startsWith('photos/in/many/')).length === 400,
      15_000,
    );
  });
});

describe('when the system gives no more watchers', () => {
  test('it says so once, and goes on with those it has', async () => {
    await watched.source.stop();
    const warnings: string[] = [];
    const { watch } = await import('node:fs');
    const { createLogger } = await import('@sluice/shared/telemetry');
    const log = createLogger({
      name: 'test',
      level: 'warn',
      destination: { write: (line) => warnings.push(line) },
    });
    let left = 3;
    watched = await watchFolders(folders, ['photos/in'], {
      log,
      watch: (path, options, listener) => {
        if (left === 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        left -= 1;
        return watch(path, { persistent: false, recursive: options.recursive }, listener);
      },
    });
    for (const name of ['a', 'b', 'c']) {
      await mkdir(join(input, name));
      await writeFile(join(input, name, 'first'), 'x');
      await watched.handedOver(`photos/in/${name}/first`);
    }
    await watched.passed();
    expect(warnings.filter((line) => line.includes('max_user_watches')).length).toBe(1);
  });
});

test('a wall clock that jumps about makes no difference', async () => {
  await watched.source.stop();
  let jump = 0;
  const jumpy = {
    ...systemClock,
    now: () => Date.now() + (jump += 3_600_000) * (jump % 7_200_000 === 0 ? 1 : -1),
  };
  watched = await watchFolders(folders, ['photos/in'], { clock: jumpy });
  for (const name of ['a', 'b', 'c']) {
    await writeFile(join(input, name), name);
    await watched.handedOver(`photos/in/${name}`);
  }
  await watched.passed();
  expect(watched.others().length).toBe(3);
});

describe('with one watcher for a bucket, as on macOS', () => {
  test('files, folders and moves are seen all the same', async () => {
    await watched.source.stop();
    watched = await watchFolders(folders, ['photos/in', 'whole-bucket'], { platform: 'darwin' });
    await writeFile(join(input, 'a'), 'x');
    await watched.handedOver('photos/in/a');
    await mkdir(join(outside, 'set/sub'), { recursive: true });
    await writeFile(join(outside, 'set/sub/b'), 'x');
    await rename(join(outside, 'set'), join(input, 'set'));
    await watched.handedOver('photos/in/set/sub/b');
    await mkdir(join(folders.buckets, 'whole-bucket'));
    await watched.passed();
    await copyFile(join(input, 'a'), join(folders.buckets, 'whole-bucket/c'));
    await watched.handedOver('whole-bucket/c');
    await watched.passed();
    expect(watched.others()).not.toContain('photos/in/old.txt');
  });
});

test('it can be stopped in the middle of anything', async () => {
  await Promise.all(Array.from({ length: 200 }, (_, n) => writeFile(join(input, `f${n}`), '')));
  const following = watched.source
    .setPrefixes([{ bucket: 'photos', prefix: '' }])
    .catch((error: unknown) => error);
  await watched.source.stop();
  await following;
  const handed = watched.keys().length;
  await writeFile(join(input, 'later'), 'x');
  watched = await watchFolders(folders, ['photos/in']);
  await watched.passed();
  expect(handed).toBeLessThanOrEqual(200);
  expect(watched.count('photos/in/later')).toBe(0);
});

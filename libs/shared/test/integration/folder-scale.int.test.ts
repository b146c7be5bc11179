import { createHash } from 'node:crypto';
import { mkdirSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Directory } from '../../src/adapters/folder-directory.ts';
import { createFolderNames } from '../../src/adapters/folder-names.ts';
import { compareKeys } from '../../src/stores/index.ts';
import { openFolderFixture, type FolderFixture } from './folder-fixture.ts';

const bucket = 'photos';
let fixture: FolderFixture;

beforeEach(async () => {
  fixture = await openFolderFixture();
  await fixture.store.createBucket(bucket, {});
});
afterEach(async () => {
  await fixture.close();
});

function write(key: string): void {
  writeFileSync(join(fixture.buckets, bucket, key), '');
}

async function pages(limit: number, between: (page: number) => void, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  let after: string | undefined;
  for (let at = 0; ; at += 1) {
    const page = await fixture.store.list(bucket, {
      prefix,
      limit,
      ...(after === undefined ? {} : { after }),
    });
    keys.push(...page.objects.map((object) => object.key));
    if (page.next === undefined) return keys;
    expect(page.objects).toHaveLength(limit);
    after = page.next;
    between(at);
  }
}

/** Keys in a few folders, some with odd characters, in no order. */
function manyKeys(count: number): string[] {
  const folders = ['in/', 'in/sub/', 'in-b/', '', 'ö/', 'in/sub/deep/'];
  for (const folder of folders) mkdirSync(join(fixture.buckets, bucket, folder), { recursive: true });
  return Array.from({ length: count }, (_, at) => {
    const odd = at % 50 === 0 ? '😀' : at % 70 === 0 ? '\uff5e' : at % 3 === 0 ? ' ' : '-';
    return `${folders[at % folders.length] ?? ''}file${odd}${(at * 7919) % count}`;
  });
}

describe('5,000 files', () => {
  it('are listed in pages as they sort', async () => {
    const keys = manyKeys(5000);
    for (const key of keys) write(key);
    const sorted = [...keys].sort(compareKeys);
    expect(await pages(333, () => {})).toEqual(sorted);
    expect(await pages(1000, () => {}, 'in/')).toEqual(sorted.filter((key) => key.startsWith('in/')));
    expect(await fixture.store.usage(bucket, 100_000)).toEqual({ bytes: 0, objects: 5000, complete: true });
  });

  it('are all found, none twice, while others come and go', async () => {
    const keys = manyKeys(5000);
    for (const key of keys) write(key);
    const gone: string[] = [];
    const found = await pages(250, (page) => {
      write(`in/file-new-${page}`);
      write(`aaa-${page}`);
      const key = keys[page * 97];
      if (key === undefined) return;
      unlinkSync(join(fixture.buckets, bucket, key));
      gone.push(key);
    });
    expect(found).toEqual([...new Set(found)].sort(compareKeys));
    const lasting = keys.filter((key) => !gone.includes(key));
    expect(lasting.filter((key) => !found.includes(key))).toEqual([]);
    const next = await pages(1000, () => {});
    expect(next).toContain('in/file-new-3');
    expect(next).toContain('aaa-3');
    for (const key of gone) expect(next).not.toContain(key);
  });
});

describe('names of a large folder', () => {
  it('are read anew for each listing while it changes, not for each page', async () => {
    const path = join(fixture.root, 'folder');
    mkdirSync(path);
    for (let at = 0; at < 300; at += 1) writeFileSync(join(path, `f${at}`), '');
    let reads = 0;
    let passed = 0;
    const directory: Directory = {
      get self() {
        reads += 1;
        return path;
      },
      origin: path,
      inPlace: async () => true,
      path: (name) => join(path, name),
      stat: async () => stat(path, { bigint: true }),
      sync: async () => {},
      release: async () => {},
    };
    const names = createFolderNames({
      now: () => Date.now() + passed,
      monotonic: () => passed,
      sleep: async () => new Promise(() => {}),
    });
    const read = async (resume?: string): Promise<{ reads: number; names: number }> => {
      reads = 0;
      const found = await names.read('id', directory, resume);
      return { reads, names: found.length };
    };
    // It was changed within the last second: an equal time stamp proves nothing.
    expect(await read()).toEqual({ reads: 1, names: 300 });
    expect(await read()).toEqual({ reads: 1, names: 300 });
    names.paused('id', 'f100');
    writeFileSync(join(path, 'new'), '');
    expect(await read('f100')).toEqual({ reads: 0, names: 300 });
    expect(await read('f101')).toEqual({ reads: 1, names: 301 });
    names.paused('id', 'f200');
    passed += 11_000;
    expect(await read('f200')).toEqual({ reads: 1, names: 301 });
    // At rest for long enough that the time stamps tell.
    expect(await read()).toEqual({ reads: 0, names: 301 });
    writeFileSync(join(path, 'newer'), '');
    expect(await read()).toEqual({ reads: 1, names: 302 });
    expect(await read()).toEqual({ reads: 0, names: 302 });
    utimesSync(path, 1000, 1000);
    expect(await read()).toEqual({ reads: 1, names: 302 });
  });
});

describe('an object of 300 MB', () => {
  it('streams in and out with flat memory', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const count = 300;
    let peak = 0;
    const base = process.memoryUsage().rss;
    const look = (): void => {
      peak = Math.max(peak, process.memoryUsage().rss - base);
    };
    const sent = createHash('sha256');
    const body = Readable.from(
      (function* () {
        for (let at = 0; at < count; at += 1) {
          // A new buffer each time, as a socket gives: what is held on to shows.
          const one = Buffer.from(chunk);
          one.writeUInt32LE(at);
          sent.update(one);
          look();
          yield one;
        }
      })(),
    );
    await fixture.store.put(bucket, 'large', body, { size: count * chunk.length });
    const got = createHash('sha256');
    const { body: read } = await fixture.store.get(bucket, 'large');
    for await (const part of read as AsyncIterable<Buffer>) {
      got.update(part);
      look();
    }
    expect(got.digest('hex')).toBe(sent.digest('hex'));
    expect(peak).toBeLessThan(128 * 1024 * 1024);
  }, 60_000);
});

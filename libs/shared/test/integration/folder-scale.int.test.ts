import { createHash } from 'node:crypto';
import { mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
    const page = await fixture.store.list(bucket, { prefix, limit, ...(after === undefined ? {} : { after }) });
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

describe('a folder of 30,000 files that keeps changing', () => {
  it('is not read anew for each page', async () => {
    mkdirSync(join(fixture.buckets, bucket, 'in'));
    for (let at = 0; at < 30_000; at += 1) write(`in/${at}`);
    const cost = async (limit: number): Promise<number> => {
      const start = process.cpuUsage();
      await pages(limit, (page) => {
        write(`in/new-${limit}-${page % 5}`);
      });
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    await cost(1000);
    // With a read and a sort for each of the 300 pages this is some fifteen times as much.
    const few = await cost(1000);
    const many = await cost(100);
    expect(many / few).toBeLessThan(5);
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
    const body = Readable.from((function* () {
      for (let at = 0; at < count; at += 1) {
        // A new buffer each time, as a socket gives: what is held on to shows.
        const one = Buffer.from(chunk);
        one.writeUInt32LE(at);
        sent.update(one);
        look();
        yield one;
      }
    })());
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

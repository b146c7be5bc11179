import { existsSync } from 'node:fs';
import { chmod, open as openFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '@sluice/shared/adapters';
import { AppError } from '@sluice/shared/errors';
import { fakeClock } from '@sluice/shared/testing';
import { log, open, tempDatabase } from './sqlite-fixture.ts';
import { openDatabase } from '@sluice/shared/adapters';

let path: string;
let remove: () => Promise<void>;
let db: Database | undefined;
beforeEach(async () => {
  ({ path, remove } = await tempDatabase());
});
afterEach(async () => {
  await db?.close();
  db = undefined;
  await remove();
});

/** An open database with a table of its own. */
function withTable(maxWaiting = 20_000): {
  readonly db: Database;
  add(value: number): void;
  values(): number[];
} {
  const opened = openDatabase({ path, clock: fakeClock(), log, maxWaiting });
  db = opened;
  opened.writeNow(() =>
    opened.prepare('CREATE TABLE IF NOT EXISTS t (value INTEGER PRIMARY KEY) STRICT').run(),
  );
  const insert = opened.prepare('INSERT INTO t (value) VALUES (?)');
  const select = opened.prepare<{ value: number }>('SELECT value FROM t ORDER BY value');
  return {
    db: opened,
    add: (value) => {
      insert.run(value);
    },
    values: () => opened.read(() => select.all().map(({ value }) => value)),
  };
}

const outcome = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error: unknown) => error,
  );

describe('writing', () => {
  it('shares transactions and gives each writer its result', async () => {
    const { db, add, values } = withTable();
    const results = await Promise.all(
      Array.from({ length: 1200 }, async (_, index) =>
        db.write(() => {
          add(index);
          return index * 2;
        }),
      ),
    );
    expect(results).toEqual(Array.from({ length: 1200 }, (_, index) => index * 2));
    expect(values()).toHaveLength(1200);
  });

  it.each([1, 3, 12])('undoes what fails, %d of many, and keeps the rest', async (failing) => {
    const { db, add, values } = withTable();
    const committed: number[] = [];
    const stage = {
      start: (): number[] => [],
      beforeCommit: (staged: number[]): void => add(1000 + staged.length),
      afterCommit: (staged: number[]): void => {
        committed.push(...staged);
      },
    };
    const results = await Promise.all(
      Array.from({ length: 20 }, async (_, index) =>
        outcome(
          db.write((transaction) => {
            add(index);
            transaction.stage(stage).push(index);
            transaction.afterCommit(() => committed.push(100 + index));
            if (index < failing) throw new AppError('conflict', `no ${index}`);
            return index;
          }),
        ),
      ),
    );
    const good = Array.from({ length: 20 - failing }, (_, index) => index + failing);
    expect(results.slice(failing)).toEqual(good);
    for (const error of results.slice(0, failing)) expect(error).toMatchObject({ code: 'conflict' });
    expect(values().filter((value) => value < 1000)).toEqual(good);
    expect(committed.sort((a, b) => a - b)).toEqual([...good, ...good.map((index) => 100 + index)]);
  });

  it('passes a bug on to its writer alone', async () => {
    const { db, add, values } = withTable();
    await db.write(() => add(1));
    const results = await Promise.all([
      outcome(db.write(() => add(2))),
      // A constraint that is broken.
      outcome(db.write(() => [add(3), add(1)])),
      outcome(
        db.write(() => {
          throw new TypeError('oops');
        }),
      ),
      outcome(db.write(() => add(4))),
    ]);
    expect(results[1]).toMatchObject({ code: 'ERR_SQLITE_ERROR' });
    expect(results[2]).toBeInstanceOf(TypeError);
    expect(values()).toEqual([1, 2, 4]);
  });

  it('refuses more than may wait', async () => {
    const { db, add, values } = withTable(10);
    const results = await Promise.all(
      Array.from({ length: 15 }, async (_, index) => outcome(db.write(() => add(index)))),
    );
    expect(results.filter((it) => it instanceof AppError && it.code === 'unavailable')).toHaveLength(5);
    expect(values()).toHaveLength(10);
    await db.write(() => add(99));
  });

  it('commits what waits when it is closed, and refuses what comes later', async () => {
    const opened = withTable();
    const written = Array.from({ length: 600 }, async (_, index) => opened.db.write(() => opened.add(index)));
    await opened.db.close();
    await Promise.all(written);
    await opened.db.close();
    await expect(opened.db.write(() => opened.add(-1))).rejects.toMatchObject({ code: 'unavailable' });
    expect(() => opened.values()).toThrow(AppError);
    await expect(opened.db.check()).rejects.toMatchObject({ code: 'unavailable' });
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(withTable().values()).toHaveLength(600);
  });

  it('gives each part to one adapter', () => {
    const { db } = withTable();
    const vacate = db.occupy('bus a');
    db.occupy('bus b');
    expect(() => db.occupy('bus a')).toThrow(expect.objectContaining({ code: 'conflict' }));
    vacate();
    db.occupy('bus a');
  });
});

describe('a full disk', () => {
  it('fails the writers, stores nothing of them, and is forgotten once there is room', async () => {
    const { db, values } = withTable();
    db.writeNow(() => db.prepare('CREATE TABLE big (data TEXT NOT NULL) STRICT').run());
    const insert = db.prepare('INSERT INTO big (data) VALUES (?)');
    const counted = db.prepare<{ n: number }>('SELECT count(*) AS n FROM big');
    const pages = db.prepare<{ page_count: number }>('PRAGMA page_count').get()?.page_count ?? 0;
    // SQLite says the same as for a disk without room.
    db.prepare(`PRAGMA max_page_count = ${pages + 20}`).get();
    const done: number[] = [];
    const results = await Promise.all(
      Array.from({ length: 50 }, async (_, index) =>
        outcome(
          db.write((transaction) => {
            insert.run('x'.repeat(10_000));
            transaction.afterCommit(() => done.push(index));
          }),
        ),
      ),
    );
    const failures = results.filter((it) => it !== undefined);
    expect(failures.length).toBeGreaterThan(0);
    for (const error of failures) expect(error).toMatchObject({ code: 'storage_full', retry: 'later' });
    expect(failures[0]).toMatchObject({ message: expect.stringContaining(path) });
    // Exactly what was promised is there.
    const stored = results.length - failures.length;
    expect(done).toHaveLength(stored);
    expect(db.read(() => counted.get()?.n)).toBe(stored);
    expect(values()).toEqual([]);
    const tooMuch = await outcome(db.write(() => insert.run('x'.repeat(200_000))));
    expect(tooMuch).toMatchObject({ code: 'storage_full' });
    await expect(db.check()).rejects.toMatchObject({ code: 'storage_full' });
    await db.write(() => insert.run('fits'));
    await db.check();
    db.prepare('PRAGMA max_page_count = 1000000').get();
    await Promise.all(Array.from({ length: 50 }, async () => db.write(() => insert.run('x'.repeat(10_000)))));
    expect(db.read(() => counted.get()?.n)).toBe(stored + 51);
  });
});

describe('the file', () => {
  it('is for its owner only', async () => {
    const opened = withTable();
    await opened.db.write(() => opened.add(1));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(`${path}-wal`)).mode & 0o777).toBe(0o600);
    await opened.db.close();
    await chmod(path, 0o644);
    withTable();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('is refused to a second opener in this process, who does no harm', async () => {
    const { db, add, values } = withTable();
    expect(() => open(path)).toThrow(expect.objectContaining({ code: 'conflict' }));
    await db.write(() => add(1));
    expect(await openedElsewhere()).toContain('database is locked');
    expect(values()).toEqual([1]);
  });

  it('is refused to another process, until the first one is killed', async () => {
    const holder = spawn(process.execPath, [
      fileURLToPath(new URL('sqlite-holder.ts', import.meta.url)),
      path,
    ]);
    try {
      await once(holder.stdout, 'data');
      expect(() => open(path)).toThrow(/only one Sluice can use a data folder/);
      holder.kill('SIGKILL');
      await once(holder, 'exit');
      expect(withTable().values()).toEqual([]);
    } finally {
      holder.kill('SIGKILL');
    }
  });

  it.each<[string, () => Promise<void>, string]>([
    ['garbage', async () => writeFile(path, 'this is not a database, '.repeat(1000)), 'unprocessable'],
    [
      'cut off',
      async () => {
        await filled();
        await truncate(path, 20_000);
      },
      'unprocessable',
    ],
    [
      'overwritten in the middle',
      async () => {
        await filled();
        await scribble(8192, 40_000);
      },
      'unprocessable',
    ],
    [
      'overwritten at the beginning',
      async () => {
        await filled();
        await scribble(0, 4096);
      },
      'unprocessable',
    ],
    ['of another program', async () => foreign(), 'unprocessable'],
    ['of a newer Sluice', async () => newer(), 'unsupported'],
  ])('that is %s is refused and left as it is', async (_what, spoil, code) => {
    await spoil();
    const before = await readFile(path);
    const error = await outcome((async () => open(path))());
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code, retry: 'never' });
    expect(String(error)).toContain(path);
    if (code === 'unprocessable') expect(String(error)).toMatch(/move it away/i);
    expect(await readFile(path)).toEqual(before);
  });

  it('says that buckets are safe when it is damaged', async () => {
    await writeFile(path, 'x'.repeat(5000));
    expect(() => open(path)).toThrow(/Buckets and the files in them are untouched/);
  });

  it('may be empty', async () => {
    await writeFile(path, '');
    expect(withTable().values()).toEqual([]);
  });

  it('needs its folder, and must be a file', async () => {
    expect(() => open(`${path}/nowhere/x.db`)).toThrow(expect.objectContaining({ code: 'unavailable' }));
    expect(() => open(`${path}.d/x.db`)).toThrow(/folder does not exist/);
    expect(() => open(path.slice(0, path.lastIndexOf('/')))).toThrow(/not a regular file/);
  });
});

/** What another process says that reads the file. */
async function openedElsewhere(): Promise<string> {
  const script = `const { DatabaseSync } = require('node:sqlite');
    try { new DatabaseSync(process.argv[1]).exec('PRAGMA journal_mode'); console.log('opened') } catch (error) { console.log(error.message) }`;
  const child = spawn(process.execPath, ['-e', script, path]);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(child, 'exit');
  return said;
}

/** A database with some pages, closed. */
async function filled(): Promise<void> {
  const { db, add } = withTable();
  await db.write(() => {
    for (let index = 0; index < 20_000; index += 1) add(index);
  });
  await db.close();
}

async function scribble(from: number, length: number): Promise<void> {
  const file = await openFile(path, 'r+');
  await file.write(Buffer.alloc(length, 0x5a), 0, length, from);
  await file.close();
}

function foreign(): void {
  const other = new DatabaseSync(path);
  other.exec('CREATE TABLE bookmarks (url TEXT)');
  other.close();
}

async function newer(): Promise<void> {
  await open(path).close();
  const other = new DatabaseSync(path);
  other.exec('PRAGMA user_version = 1000');
  other.close();
}

import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { createSqliteObjectIndex } from '../../src/adapters/folder-index-sqlite.ts';
import type { ObjectIndex } from '../../src/adapters/folder-index.ts';
import { createFolderObjectStore, type FolderObjectStore } from '../../src/adapters/folder-object-store.ts';
import { createPresigner } from '../../src/adapters/presign.ts';
import { openDatabase } from '../../src/adapters/sqlite-database.ts';
import { Secret } from '../../src/config/index.ts';
import { isAppError, type AppError } from '../../src/errors/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';

export interface FolderFixture {
  readonly root: string;
  readonly buckets: string;
  readonly system: string;
  readonly temp: string;
  readonly store: FolderObjectStore;
  readonly index: ObjectIndex;
  /** Lines that were logged, warnings and above. */
  readonly logged: { readonly level: number; readonly msg: string; readonly count?: number }[];
  close(): Promise<void>;
}

export interface FolderFixtureOptions {
  /** A data folder that stays; without it one is made and removed at `close`. */
  readonly root?: string;
  /** Where the folders are, when not in the data folder. */
  readonly folders?: string;
  readonly temp?: string;
  readonly wrapIndex?: (index: ObjectIndex) => ObjectIndex;
}

/** A folder store on real folders, with its index in a real database. */
export async function openFolderFixture(options: FolderFixtureOptions = {}): Promise<FolderFixture> {
  const root = options.root ?? (await makeFolder());
  const folders = options.folders ?? root;
  const logged: FolderFixture['logged'] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => logged.push(JSON.parse(line)) });
  const database = openDatabase({ path: join(root, 'sluice.db'), clock: systemClock, log });
  const [buckets, system] = [join(folders, 'buckets'), join(folders, 'system')];
  const temp = options.temp ?? join(folders, 'tmp');
  try {
    const plain = createSqliteObjectIndex(database);
    const index = options.wrapIndex?.(plain) ?? plain;
    const store = await createFolderObjectStore({
      bucketsRoot: buckets,
      systemRoot: system,
      tempRoot: temp,
      index,
      presign: createPresigner({
        key: new Secret('k'.repeat(32)),
        baseUrl: () => 'http://localhost',
        clock: systemClock,
      }),
      clock: systemClock,
      log,
    });
    return {
      root,
      buckets,
      system,
      temp,
      store,
      index,
      logged,
      close: async () => {
        await store.close();
        await database.close();
        if (options.root === undefined) await rm(root, { recursive: true });
      },
    };
  } catch (error) {
    await database.close();
    if (options.root === undefined) await rm(root, { recursive: true });
    throw error;
  }
}

/** A new empty folder, as its real path. */
export async function makeFolder(): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), 'sluice-folders-')));
}

/** The error that a promise rejects with, which must be an `AppError`. */
export async function failureOf(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    (value) => new Error(`nothing was thrown, but ${JSON.stringify(value)} came`),
    (reason: unknown) => reason,
  );
  if (isAppError(error)) return error;
  throw error;
}

/** Files in the temporary folder that belong to uploads and deletions. */
export async function strays(temp: string): Promise<string[]> {
  return (await readdir(temp)).filter((name) => name !== 'clock');
}

export async function listKeys(store: FolderObjectStore, bucket: string, prefix = ''): Promise<string[]> {
  const page = await store.list(bucket, { prefix, limit: 1000 });
  return page.objects.map((object) => object.key);
}

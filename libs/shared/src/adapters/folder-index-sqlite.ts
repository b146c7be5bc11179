import type { ObjectIndex, ObjectRecord, ObjectStateRef } from './folder-index.ts';
import type { Database } from './sqlite-database.ts';

/** Made here and not by the database's migrations: an installation with another object store has no use for them. */
const records = `CREATE TABLE IF NOT EXISTS object_records (
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  identity TEXT NOT NULL,
  content_type TEXT,
  metadata TEXT NOT NULL,
  PRIMARY KEY (bucket, key, identity)
) STRICT, WITHOUT ROWID`;
const buckets = `CREATE TABLE IF NOT EXISTS object_bucket_tags (
  bucket TEXT PRIMARY KEY,
  tags TEXT NOT NULL
) STRICT, WITHOUT ROWID`;

const texts = {
  get: 'SELECT content_type, metadata FROM object_records WHERE bucket = ? AND key = ? AND identity = ?',
  put: 'INSERT OR REPLACE INTO object_records (bucket, key, identity, content_type, metadata) VALUES (?, ?, ?, ?, ?)',
  removeOthers: 'DELETE FROM object_records WHERE bucket = ? AND key = ? AND identity NOT IN (?, ?)',
  hasKey: 'SELECT 1 AS found FROM object_records WHERE bucket = ? AND key = ? LIMIT 1',
  removeKey: 'DELETE FROM object_records WHERE bucket = ? AND key = ?',
  removeState: 'DELETE FROM object_records WHERE bucket = ? AND key = ? AND identity = ?',
  removeBucket: 'DELETE FROM object_records WHERE bucket = ?',
  list: `SELECT bucket, key, identity FROM object_records WHERE (bucket, key, identity) > (?, ?, ?)
    ORDER BY bucket, key, identity LIMIT ?`,
  tags: 'SELECT tags FROM object_bucket_tags WHERE bucket = ?',
  setTags: 'INSERT OR REPLACE INTO object_bucket_tags (bucket, tags) VALUES (?, ?)',
  removeTags: 'DELETE FROM object_bucket_tags WHERE bucket = ?',
} as const;

interface RecordRow {
  readonly content_type: string | null;
  readonly metadata: string;
}

/**
 * The folder store's index as two tables of the instance's database, made here where they are absent.
 * @throws AppError `storage_full` or `unavailable` when the tables can't be made
 */
export function createSqliteObjectIndex(database: Database): ObjectIndex {
  database.writeNow(() => {
    database.prepare(records).run();
    database.prepare(buckets).run();
  });
  const get = database.prepare<RecordRow>(texts.get);
  const list = database.prepare<ObjectStateRef>(texts.list);
  return {
    get: async ({ bucket, key, identity }) => {
      const row = database.read(() => get.get(bucket, key, identity));
      return row === undefined ? undefined : recordOf(row);
    },
    put: async ({ bucket, key, identity }, record, current) => {
      await database.write(() => {
        database.prepare(texts.removeOthers).run(bucket, key, identity, current ?? identity);
        const metadata = JSON.stringify(record.metadata);
        database.prepare(texts.put).run(bucket, key, identity, record.contentType ?? null, metadata);
      });
    },
    removeKey: async (bucket, key) => {
      if (
        database.read(() => database.prepare<{ found: number }>(texts.hasKey).get(bucket, key)) === undefined
      )
        return;
      await database.write(() => database.prepare(texts.removeKey).run(bucket, key));
    },
    removeState: async ({ bucket, key, identity }) => {
      await database.write(() => database.prepare(texts.removeState).run(bucket, key, identity));
    },
    removeBucket: async (bucket) => {
      await database.write(() => database.prepare(texts.removeBucket).run(bucket));
    },
    list: async (after, limit) =>
      database.read(() => list.all(after?.bucket ?? '', after?.key ?? '', after?.identity ?? '', limit)),
    ...createTags(database),
  };
}

function createTags(database: Database): Pick<ObjectIndex, 'tags' | 'setTags'> {
  const get = database.prepare<{ tags: string }>(texts.tags);
  return {
    tags: async (bucket) => {
      const row = database.read(() => get.get(bucket));
      return row === undefined ? undefined : (JSON.parse(row.tags) as Record<string, string>);
    },
    setTags: async (bucket, tags) => {
      await database.write(() =>
        tags === undefined
          ? database.prepare(texts.removeTags).run(bucket)
          : database.prepare(texts.setTags).run(bucket, JSON.stringify(tags)),
      );
    },
  };
}

function recordOf(row: RecordRow): ObjectRecord {
  const metadata = JSON.parse(row.metadata) as Record<string, string>;
  return row.content_type === null ? { metadata } : { contentType: row.content_type, metadata };
}

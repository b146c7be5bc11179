import type { ServiceSecrets } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import { secretsContext } from './definition-rules.ts';
import type { SecretBox } from './secret-box.ts';
import type { Database } from './sqlite-database.ts';

export interface SqliteSecrets {
  /** Inside a transaction. */
  insert(uid: string, version: number, secrets: ServiceSecrets): void;
  read(uid: string, version: number): ServiceSecrets | undefined;
  /** Writes anew what is in clear or under another key than the first one. @returns how many were */
  reencrypt(): Promise<number>;
}

interface Row {
  readonly uid: string;
  readonly version: number;
  readonly secrets: string;
  /** Null where the text is in clear. */
  readonly key_id: string | null;
}

/** Records rewritten in one transaction. */
const step = 200;
/** Larger files are not written anew for what earlier records may have left between the pages in use. */
const vacuumBytes = 256 * 1024 * 1024;

/** @param box without one, secrets are stored as they are */
export function createSqliteSecrets(db: Database, box: SecretBox | undefined): SqliteSecrets {
  const insert = db.prepare(
    'INSERT INTO definition_secrets (uid, version, secrets, key_id) VALUES (?, ?, ?, ?)',
  );
  const select = db.prepare<Row>(
    'SELECT uid, version, secrets, key_id FROM definition_secrets WHERE uid = ? AND version = ?',
  );
  return {
    insert: (uid, version, secrets) => {
      const text = JSON.stringify(secrets);
      if (box === undefined) insert.run(uid, version, text, null);
      else insert.run(uid, version, box.seal(text, secretsContext(uid, version)), box.keyId);
    },
    read: (uid, version) => {
      const row = db.read(() => select.get(uid, version));
      return row === undefined ? undefined : (JSON.parse(open(row, box)) as ServiceSecrets);
    },
    reencrypt: async () => (box === undefined ? 0 : reencrypt(db, box)),
  };
}

function open({ uid, version, secrets, key_id: keyId }: Row, box: SecretBox | undefined): string {
  if (keyId === null) return secrets;
  if (box !== undefined) return box.open(secrets, secretsContext(uid, version));
  throw new AppError('unavailable', `The secrets were encrypted with the key "${keyId}", and none is given.`);
}

async function reencrypt(db: Database, box: SecretBox): Promise<number> {
  const others = db.prepare<Row>(
    'SELECT uid, version, secrets, key_id FROM definition_secrets WHERE key_id IS NOT ? LIMIT ?',
  );
  const update = db.prepare(
    'UPDATE definition_secrets SET secrets = ?, key_id = ? WHERE uid = ? AND version = ?',
  );
  let clear = false;
  let rewritten = 0;
  // What is overwritten must not stay readable in the file.
  db.read(() => db.prepare('PRAGMA secure_delete = ON').get());
  try {
    for (;;) {
      const rows = db.read(() => others.all(box.keyId, step));
      if (rows.length === 0) break;
      clear ||= rows.some((row) => row.key_id === null);
      await db.write(() => {
        for (const row of rows) {
          const { uid, version } = row;
          update.run(box.seal(open(row, box), secretsContext(uid, version)), box.keyId, uid, version);
        }
      });
      rewritten += rows.length;
    }
  } finally {
    db.read(() => db.prepare('PRAGMA secure_delete = OFF').get());
  }
  if (clear) wipeRemains(db);
  return rewritten;
}

/** Secrets in clear that earlier versions deleted, in pages that are free and in the log. */
function wipeRemains(db: Database): void {
  db.read(() => {
    const { page_count: pages = 0 } = db.prepare<{ page_count: number }>('PRAGMA page_count').get() ?? {};
    const { page_size: size = 0 } = db.prepare<{ page_size: number }>('PRAGMA page_size').get() ?? {};
    if (pages * size <= vacuumBytes) db.prepare('VACUUM').run();
    db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
  });
}

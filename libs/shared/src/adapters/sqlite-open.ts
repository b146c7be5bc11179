import { accessSync, chmodSync, closeSync, constants, fsyncSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError, fromSystemError, isAppError, messageOf, systemCode } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { damagedError, fromSqliteError, isDamaged, isLocked } from './sqlite-errors.ts';
import { applicationId, migrations } from './sqlite-schema.ts';

/**
 * Files up to this size are read through at open (`quick_check`; some 30 ms for the largest). Of larger ones only the
 * header, the schema and the length are looked at, so that the start does not take longer with every run kept.
 */
const fullCheckBytes = 32 * 1024 * 1024;

/** Pages in the write-ahead log before it is copied into the file: 8 MiB, some tens of milliseconds of copying at most. */
const checkpointPages = 2000;
/** A log that grew past this (a burst, a full disk) is cut back to it. */
const walKeepBytes = 32 * 1024 * 1024;
const cacheKiB = 8192;

/**
 * Opens the file, made with mode 0600 where it is absent, as its only user, and brings its schema up to date.
 * The lock is the kernel's and goes with the process, however it ends.
 * @throws AppError `conflict` when another process has it open, `unprocessable` when it is damaged or not ours,
 *   `unsupported` when a newer Sluice made it, `storage_full` or `unavailable` when the disk refuses
 */
export function openFile(path: string, log: Logger): DatabaseSync {
  const isNew = createFile(path);
  const sqlite = connect(path);
  try {
    // Before WAL, so that the log's index is kept in memory instead of in a shared file.
    sqlite.exec('PRAGMA locking_mode = EXCLUSIVE');
    // Before anything is changed: another program's database stays as it is.
    checkIdentity(sqlite, path);
    tighten(path);
    configure(sqlite);
    checkContents(sqlite, path);
    migrate(sqlite, path, log);
    if (isNew) syncFolder(dirname(path));
    return sqlite;
  } catch (error) {
    sqlite.close();
    throw openError(error, path);
  }
}

function openError(error: unknown, path: string): unknown {
  if (isAppError(error)) return error;
  if (systemCode(error) !== 'ERR_SQLITE_ERROR') return fromSystemError(error, `open the database ${path}`);
  if (isLocked(error)) {
    return new AppError(
      'conflict',
      `Another process has the database ${path} open: only one Sluice can use a data folder at a time. ` +
        'Stop the other one, or give this one a data folder of its own.',
      { cause: error, details: { path } },
    );
  }
  if (isDamaged(error)) return damagedError(path, messageOf(error), error);
  return fromSqliteError(error, path);
}

/**
 * Makes an empty file that only we may read. Never opens one that is there: closing any descriptor of a file drops this
 * process's POSIX locks on it, and with them the lock of a database that is open in this very process.
 */
function createFile(path: string): boolean {
  const what = `open the database ${path}`;
  try {
    closeSync(openSync(path, 'wx', 0o600));
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') {
      throw new AppError('unavailable', `Cannot ${what}: its folder does not exist.`, { cause: error });
    }
    throw fromSystemError(error, what);
  }
}

/** Run records hold what callers sent, and secrets are stored beside them: nobody else reads the file. */
function tighten(path: string): void {
  try {
    if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
  } catch (error) {
    throw fromSystemError(error, `keep the database ${path} from others`);
  }
}

function connect(path: string): DatabaseSync {
  try {
    if (!statSync(path).isFile()) {
      throw new AppError('unprocessable', `Cannot open the database ${path}: it is not a regular file.`);
    }
    // SQLite would only say "disk I/O error" of a read-only file system; the folder gets the log.
    for (const place of [path, dirname(path)]) accessSync(place, constants.W_OK);
    return new DatabaseSync(path);
  } catch (error) {
    throw openError(error, path);
  }
}

function configure(sqlite: DatabaseSync): void {
  sqlite.exec('PRAGMA journal_mode = WAL');
  sqlite.exec('PRAGMA synchronous = FULL');
  sqlite.exec('PRAGMA temp_store = MEMORY');
  sqlite.exec(`PRAGMA cache_size = -${cacheKiB}`);
  sqlite.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`);
  sqlite.exec(`PRAGMA journal_size_limit = ${walKeepBytes}`);
  // Takes the lock now, not at the first write.
  sqlite.exec('BEGIN IMMEDIATE');
  sqlite.exec('COMMIT');
}

function pragma(sqlite: DatabaseSync, name: string): unknown {
  return Object.values(sqlite.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function checkIdentity(sqlite: DatabaseSync, path: string): void {
  const objects = sqlite.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'];
  const version = Number(pragma(sqlite, 'user_version'));
  if (objects === 0 && version === 0) return;
  if (pragma(sqlite, 'application_id') !== applicationId) {
    throw new AppError(
      'unprocessable',
      `${path} is a database of another program. It is left as it is; choose another data folder or move it away.`,
      { details: { path } },
    );
  }
  if (version > migrations.length) {
    throw new AppError(
      'unsupported',
      `The database ${path} was written by a newer Sluice (schema ${version}; this one knows ${migrations.length}). ` +
        'It is left as it is; start the newer version.',
      { details: { path, version } },
    );
  }
}

function checkContents(sqlite: DatabaseSync, path: string): void {
  // What a killed process left in the log goes into the file first, so that the file's length can be compared.
  const checkpoint = sqlite.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
  const bytes = Number(pragma(sqlite, 'page_count')) * Number(pragma(sqlite, 'page_size'));
  const size = statSync(path).size;
  if (checkpoint?.['busy'] === 0 && size < bytes) {
    throw damagedError(path, `it has ${size} bytes where ${bytes} are expected`);
  }
  if (size > fullCheckBytes) return;
  const verdict = pragma(sqlite, 'quick_check(1)');
  if (verdict !== 'ok') throw damagedError(path, String(verdict));
}

function migrate(sqlite: DatabaseSync, path: string, log: Logger): void {
  const from = Number(pragma(sqlite, 'user_version'));
  for (const [index, step] of migrations.entries()) {
    if (index < from) continue;
    try {
      sqlite.exec('BEGIN IMMEDIATE');
      sqlite.exec(step);
      sqlite.exec(`PRAGMA application_id = ${applicationId}`);
      sqlite.exec(`PRAGMA user_version = ${index + 1}`);
      sqlite.exec('COMMIT');
    } catch (error) {
      if (sqlite.isTransaction) sqlite.exec('ROLLBACK');
      throw error;
    }
  }
  if (from < migrations.length)
    log.info({ path, from, to: migrations.length }, 'database schema brought up to date');
}

/** Makes the new file's name durable; SQLite does it for its log only. */
function syncFolder(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

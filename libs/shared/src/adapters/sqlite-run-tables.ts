import { isFinal, type Run } from '../contracts/index.ts';
import type { Database, Statement } from './sqlite-database.ts';
import { courseOf, factsOf, type RunRow, stateNumber } from './run-record.ts';
import type { Transaction } from './sqlite-transaction.ts';

export type FoundRun = RunRow;

/** The rows of claims and runs. What changes them runs inside a transaction. */
export interface RunTables {
  find(id: string): FoundRun | undefined;
  readonly bySeq: Statement<RunRow>;
  isClaimed(id: string): boolean;
  /** Stores the claim and the run; false where the id was claimed before. */
  insert(transaction: Transaction, run: Run): boolean;
  /** Stores a change of state and all that came with it. */
  update(seq: number, run: Run): void;
  /** Stores what has no column of its own: the time line, a wish to cancel. */
  setCourse(seq: number, run: Run): void;
  /** Drops the record; the claim stays. */
  remove(seq: number): void;
  versionsInUse(): ReadonlySet<string>;
}

/** Uids whose row in `run_services` is known to be there. */
const knownUids = 10_000;

export function createRunTables(db: Database): RunTables {
  const columns = 'r.seq, r.state, r.attempt, r.service_version, r.course, f.facts';
  const record = 'JOIN run_facts f ON f.seq = r.seq';
  const find = db.prepare<RunRow>(
    `SELECT ${columns} FROM run_claims c JOIN runs r ON r.seq = c.seq ${record} WHERE c.id = ?`,
  );
  const claimed = db.prepare<{ seq: number }>('SELECT seq FROM run_claims WHERE id = ?');
  const setCourse = db.prepare('UPDATE runs SET course = ? WHERE seq = ?');
  const versions = db.prepare<{ uid: string; version: number }>(
    `SELECT DISTINCT service_uid AS uid, service_version AS version FROM runs
     WHERE service_version IS NOT NULL AND state <= 2`,
  );
  // Services come and go; those without a run need no row.
  const gone = 'NOT EXISTS (SELECT 1 FROM runs WHERE runs.service = run_services.service)';
  db.writeNow(() => db.prepare(`DELETE FROM run_services WHERE ${gone}`).run());
  return {
    bySeq: db.prepare<RunRow>(`SELECT ${columns} FROM runs r ${record} WHERE r.seq = ?`),
    find: (id) => find.get(id),
    isClaimed: (id) => claimed.get(id) !== undefined,
    insert: inserter(db),
    update: updater(db),
    setCourse: (seq, run) => {
      setCourse.run(courseOf(run), seq);
    },
    remove: remover(db),
    versionsInUse: () => new Set(versions.all().map(({ uid, version }) => `${uid}/${version}`)),
  };
}

function inserter(db: Database): RunTables['insert'] {
  const claim = db.prepare('INSERT INTO run_claims (id, made_at) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const facts = db.prepare('INSERT INTO run_facts (seq, facts) VALUES (?, ?)');
  const run = db.prepare(
    `INSERT INTO runs (seq, state, attempt, service, service_uid, input_bucket, input_key, course)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const service = db.prepare(
    'INSERT INTO run_services (uid, service, first_seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const known = new Set<string>();
  const remember = (uid: string): void => {
    if (known.size >= knownUids) known.clear();
    known.add(uid);
  };
  return (transaction, it) => {
    const { changes, lastInsertRowid: seq } = claim.run(it.id, Math.floor(it.created_at));
    if (Number(changes) === 0) return false;
    facts.run(seq, factsOf(it));
    const { service: name, service_uid: uid, input } = it;
    run.run(
      seq,
      stateNumber(it.state),
      it.attempt,
      name,
      uid,
      input?.bucket ?? null,
      input?.key ?? null,
      courseOf(it),
    );
    if (!known.has(uid)) {
      service.run(uid, name, seq);
      transaction.afterCommit(() => remember(uid));
    }
    return true;
  };
}

/** Two statements: SQLite rewrites the index of every column that is set, changed or not. */
function updater(db: Database): RunTables['update'] {
  const under = db.prepare(
    'UPDATE runs SET state = ?, attempt = ?, service_version = ?, course = ? WHERE seq = ?',
  );
  const finish = db.prepare(
    'UPDATE runs SET state = ?, attempt = ?, service_version = ?, course = ?, finished_at = ? WHERE seq = ?',
  );
  return (seq, run) => {
    const values = [stateNumber(run.state), run.attempt, run.service_version ?? null, courseOf(run)] as const;
    if (isFinal(run.state)) finish.run(...values, Math.floor(run.finished_at ?? 0), seq);
    else under.run(...values, seq);
  };
}

function remover(db: Database): RunTables['remove'] {
  const run = db.prepare('DELETE FROM runs WHERE seq = ?');
  const facts = db.prepare('DELETE FROM run_facts WHERE seq = ?');
  const claim = db.prepare('UPDATE run_claims SET recordless = 1 WHERE seq = ?');
  return (seq) => {
    run.run(seq);
    facts.run(seq);
    claim.run(seq);
  };
}

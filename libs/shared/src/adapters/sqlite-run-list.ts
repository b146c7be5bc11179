import type { Run } from '../contracts/index.ts';
import type { RunLedger, RunQuery } from '../stores/index.ts';
import { checkLimit } from './page-limit.ts';
import { decodeNumberCursor, encodeCursor } from './sqlite-cursor.ts';
import type { Database, Statement } from './sqlite-database.ts';
import { runOf, type RunRow, stateNumber } from './run-record.ts';

/** Bytes of stored JSON after which a page ends early: a thousand runs may carry an event of 64 KiB each. */
const pageBytes = 8 * 1024 * 1024;
const everyState = [0, 1, 2, 3, 4, 5, 6];

type Value = string | number;

/** A condition with its values. */
interface Filter {
  readonly sql: string;
  readonly values: readonly Value[];
}

/** Lists runs in order of acceptance. Every query walks an index and stops at its limit. */
export function createRunList(db: Database, bySeq: Statement<RunRow>): RunLedger['list'] {
  const service = db.prepare<{ service: string; first_seq: number }>(
    'SELECT service, first_seq FROM run_services WHERE uid = ?',
  );
  return async (query) => {
    checkLimit(query.limit);
    const kind = `runs-${query.order ?? 'newest'}`;
    const after = query.cursor === undefined ? undefined : decodeNumberCursor(kind, query.cursor);
    return db.read(() => {
      const owner = query.serviceUid === undefined ? undefined : service.get(query.serviceUid);
      if (query.serviceUid !== undefined && owner === undefined) return { items: [] };
      const { sql, values } = pageOf(query, after, owner);
      const seqs = db.prepare<{ seq: number }>(sql).all(...values);
      const items = load(seqs.slice(0, query.limit), bySeq);
      const last = seqs[items.length - 1];
      return items.length < seqs.length && last !== undefined
        ? { items, next: encodeCursor(kind, String(last.seq)) }
        : { items };
    });
  };
}

function load(seqs: readonly { readonly seq: number }[], bySeq: Statement<RunRow>): readonly Run[] {
  const runs: Run[] = [];
  let bytes = 0;
  for (const { seq } of seqs) {
    const row = bySeq.get(seq);
    if (row === undefined) continue;
    bytes += row.facts.length + row.course.length;
    if (bytes > pageBytes && runs.length > 0) break;
    runs.push(runOf(row));
  }
  return runs;
}

/** The query for the seqs of a page and one more. Its texts are few: they differ by which filters there are. */
function pageOf(
  query: RunQuery,
  after: number | undefined,
  owner: { readonly service: string; readonly first_seq: number } | undefined,
): Filter {
  const newest = (query.order ?? 'newest') === 'newest';
  const direction = newest ? 'DESC' : 'ASC';
  const limit = query.limit + 1;
  const range: Filter = newest
    ? { sql: 'seq < ? AND seq >= ?', values: [after ?? Number.MAX_SAFE_INTEGER, owner?.first_seq ?? 0] }
    : { sql: 'seq > ?', values: [Math.max(after ?? 0, (owner?.first_seq ?? 0) - 1)] };
  // "LIMIT ? + 0": a bare "LIMIT ?" is planned anew each time (see sqlite-bus-messages.ts).
  const parts = partsOf(query, owner?.service).map((part): Filter => {
    const sql = `SELECT seq FROM (SELECT seq FROM runs WHERE ${part.sql} AND ${range.sql} ORDER BY seq ${direction} LIMIT ? + 0)`;
    return { sql, values: [...part.values, ...range.values, limit] };
  });
  return {
    sql: `${parts.map(({ sql }) => sql).join(' UNION ALL ')} ORDER BY seq ${direction} LIMIT ? + 0`,
    values: [...parts.flatMap(({ values }) => values), limit],
  };
}

/**
 * One condition for each stretch of an index that is in order of seq: by input, by service and state, by state, or the
 * table itself.
 */
function partsOf(query: RunQuery, ownerService: string | undefined): readonly Filter[] {
  const states = query.states?.map(stateNumber);
  // A uid belongs to one service; asking for another's finds nothing, as it should.
  const service = query.service ?? ownerService;
  const uid: Filter =
    query.serviceUid === undefined ? nothing : { sql: ' AND service_uid = ?', values: [query.serviceUid] };
  if (query.input !== undefined) {
    const { bucket, key } = query.input;
    const named: Filter = service === undefined ? nothing : { sql: ' AND +service = ?', values: [service] };
    const among: Filter =
      states === undefined
        ? nothing
        : { sql: ' AND +state IN (SELECT value FROM json_each(?))', values: [JSON.stringify(states)] };
    return [joined({ sql: 'input_bucket = ? AND input_key = ?', values: [bucket, key] }, named, uid, among)];
  }
  if (service !== undefined) {
    return (states ?? everyState).map((state) =>
      joined({ sql: 'service = ? AND state = ?', values: [service, state] }, uid),
    );
  }
  if (states === undefined) return [{ sql: 'true', values: [] }];
  return states.map((state) => ({ sql: 'state = ?', values: [state] }));
}

const nothing: Filter = { sql: '', values: [] };

function joined(...filters: readonly Filter[]): Filter {
  return { sql: filters.map(({ sql }) => sql).join(''), values: filters.flatMap(({ values }) => values) };
}

import { runStates, type Run } from '../contracts/index.ts';
import type { RunLedger, RunQuery } from '../stores/index.ts';
import { checkLimit } from './page-limit.ts';
import { type LedgerCall, texts, tuples } from './redis-run-calls.ts';
import { inputToken, storedRun } from './redis-run-record.ts';
import { listScript } from './redis-run-read-scripts.ts';
import { stateNumber } from './run-record.ts';
import { decodeNumberCursor, encodeCursor } from './sqlite-cursor.ts';

/** Bytes of stored text after which a page ends early: a thousand runs may carry an event of 64 KiB each. */
const pageBytes = 8 * 1024 * 1024;
/** Scripts of one page, where most of what they look at is filtered out; the page then has fewer runs than asked for. */
const maxLooks = 20;

/** Lists runs in order of acceptance. Every script walks indexes and stops at its limit. */
export function createRedisRunList(call: LedgerCall): RunLedger['list'] {
  return async (query) => {
    checkLimit(query.limit);
    const order = query.order ?? 'newest';
    const kind = `runs-${order}`;
    let after = query.cursor === undefined ? '' : String(decodeNumberCursor(kind, query.cursor));
    const { indexes, filter } = indexesOf(query);
    if (indexes.length === 0) return { items: [] };
    const items: Run[] = [];
    for (let look = 0; look < maxLooks; look += 1) {
      const args = [order, after, query.limit - items.length, pageBytes, ...filter, ...indexes];
      const [why, last = '', ...found] = texts(await call(listScript, args));
      for (const [seq = '', record = '', facts = ''] of tuples(found, 3))
        items.push(storedRun(seq, record, facts).run);
      if (why === 'end') return { items };
      after = last === '' ? after : last;
      if (why === 'full') break;
    }
    return { items, next: encodeCursor(kind, after) };
  };
}

/** The indexes whose entries together are what is asked for, and what has to be filtered beside: service, uid, states. */
function indexesOf(query: RunQuery): {
  readonly indexes: readonly string[];
  readonly filter: readonly [service: string, uid: string, states: string];
} {
  const { service = '', serviceUid = '', input } = query;
  const states = [...new Set(query.states ?? runStates)].map(stateNumber);
  if (input !== undefined) {
    if (states.length === 0) return { indexes: [], filter: ['', '', ''] };
    return {
      indexes: [`i:${inputToken(input)}`],
      filter: [service, serviceUid, query.states === undefined ? '' : states.join('')],
    };
  }
  if (serviceUid !== '')
    return { indexes: states.map((state) => `u:${state}:${serviceUid}`), filter: [service, '', ''] };
  const indexes = states.map((state) => (service === '' ? `s:${state}` : `v:${state}:${service}`));
  return { indexes, filter: ['', '', ''] };
}

import type { Run } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { ClaimResult, RunLedger } from '../stores/index.ts';
import { createBatcher } from './batcher.ts';
import { numbers } from './redis-run-calls.ts';
import { findRun } from './redis-run-changes.ts';
import type { RedisLedgerParts } from './redis-run-ledger.ts';
import { entriesFrom, said, type SaidMessage, unnumbered } from './redis-run-outbox.ts';
import { factsTextOf, inputToken, recordOf } from './redis-run-record.ts';
import { claimScript } from './redis-run-scripts.ts';
import { acceptedRun, checkBatch } from './run-record.ts';

interface Claim {
  readonly id: string;
  readonly args: readonly (string | number)[];
  readonly bytes: number;
  readonly messages: readonly SaidMessage[];
}

/** Runs of one script: Redis does nothing else while it runs, a few milliseconds for so many. */
export const scriptRuns = 250;
export const scriptBytes = 4 * 1024 * 1024;

/** Answer of the script for a run that was claimed before and that nothing happened to since. */
const untouched = -2;

/** Claims of many callers go in few scripts; each run is claimed as a whole or not at all. */
export function createRedisRunClaims(ledger: RedisLedgerParts): RunLedger['claim'] {
  const { call, clock, outbox, maxOutbox } = ledger;
  const batcher = createBatcher<Claim, number>({
    maxItems: scriptRuns,
    maxBytes: scriptBytes,
    maxUnderWay: 2,
    bytesOf: ({ bytes }) => bytes,
    work: async (claims) => {
      const args = claims.flatMap((claim) => claim.args);
      const reply = await call(claimScript, [
        maxOutbox,
        clock.now(),
        outbox.publishes ? 1 : 0,
        claims.length,
        ...args,
      ]);
      if (reply === 'full') throw outboxFull();
      return numbers(reply);
    },
  });
  return async (runs) => {
    checkBatch(runs);
    if (runs.length === 0) return [];
    const at = clock.now();
    const claims = runs.map((run) => claimOf(acceptedRun(run, at), ledger));
    const firsts = await batcher.add(claims);
    await outbox.stored(claims.flatMap(({ messages }, index) => entriesFrom(firsts[index] ?? -1, messages)));
    const again = claims.filter((_, index) => firsts[index] === untouched);
    if (again.length > 0) await startAgain(ledger, again);
    return claims.map(({ id }, index): ClaimResult => ({ id, created: (firsts[index] ?? -1) >= 0 }));
  };
}

/**
 * A claim that is repeated because the first one failed after it was stored has to mean the same as one that went well: its start is on the bus. It is
 * said again, under the same id, where nothing shows that it has been heard.
 */
async function startAgain(ledger: RedisLedgerParts, claims: readonly Claim[]): Promise<void> {
  const { outbox, startMessage, carry } = ledger;
  const found = await Promise.all(claims.map(async ({ id }) => findRun(ledger, id)));
  const runs = found.flatMap((stored) => (stored === undefined ? [] : [stored.run]));
  await outbox.stored(entriesFrom(unnumbered, said(runs.map((run) => carry(startMessage(run), run)))));
}

function claimOf(run: Run, { startMessage, eventsFor, carry }: RedisLedgerParts): Claim {
  const messages = said([carry(startMessage(run), run), ...eventsFor(run)]);
  const facts = factsTextOf(run);
  const { id, service, service_uid: uid, input } = run;
  const record = recordOf(run, 1);
  return {
    id,
    args: [
      id,
      service,
      uid,
      inputToken(input),
      record,
      facts,
      messages.length,
      ...messages.map(({ text }) => text),
    ],
    bytes: messages.reduce((sum, { text }) => sum + text.length, facts.length + record.length),
    messages,
  };
}

function outboxFull(): AppError {
  return new AppError('limit_reached', 'Too many messages wait to be published; try again later.', {
    retryAfterSeconds: 5,
  });
}

import type { Run } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { ClaimResult, RunLedger } from '../stores/index.ts';
import { createBatcher } from './batcher.ts';
import { numbers } from './redis-run-calls.ts';
import type { RedisLedgerParts } from './redis-run-ledger.ts';
import { entriesFrom, said, type SaidMessage } from './redis-run-outbox.ts';
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
      const reply = await call(claimScript, [maxOutbox, clock.now(), claims.length, ...args]);
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
    return claims.map(({ id }, index): ClaimResult => ({ id, created: (firsts[index] ?? -1) >= 0 }));
  };
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

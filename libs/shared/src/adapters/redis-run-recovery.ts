import { randomUUID } from 'node:crypto';
import { isFinal, type Run } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { LedgerRecovery } from '../stores/index.ts';
import type { RedisConnection, RedisScript } from './redis-connection.ts';
import { scriptBytes, scriptRuns } from './redis-run-claims.ts';
import { factsTextOf, inputToken, recordOf, versionInUse } from './redis-run-record.ts';
import { intactScript } from './redis-run-read-scripts.ts';
import { markIntactScript, restoreClaimsScript, restoreScript } from './redis-run-scripts.ts';
import { checkBatch, stateNumber } from './run-record.ts';

type Values = readonly (string | number)[];

/** Fills a memory that was lost. Several processes may do so at the same time: what one restored the others leave alone. */
export function createRedisRunRecovery(redis: RedisConnection): LedgerRecovery {
  // Of the restoration that this process takes part in: a memory lost again in the middle of it must not count as restored.
  let token = '';
  const step = async (script: RedisScript, values: Values): Promise<unknown> => {
    const reply = await redis.run(script, [token, randomUUID(), ...values]);
    if (reply !== 'lost') return reply;
    token = '';
    throw new AppError(
      'unavailable',
      'Redis lost its memory again while the run ledger was rebuilt: begin anew.',
      {
        retryAfterSeconds: 1,
      },
    );
  };
  return {
    isIntact: async () => (await redis.run(intactScript, [])) !== 'lost',
    restore: async (runs) => {
      checkBatch(runs);
      // In order, so that those of one millisecond keep theirs.
      const rows = runs.toSorted((a, b) => a.created_at - b.created_at).map(restoredRun);
      for (const batch of batches(rows))
        token = String(await step(restoreScript, [batch.length, ...batch.flat()]));
    },
    restoreClaims: async (claims) => {
      checkBatch(claims);
      const values = claims.flatMap(({ id, claimedAt }) => [id, Math.floor(claimedAt)]);
      token = String(await step(restoreClaimsScript, values));
    },
    markIntact: async () => {
      await step(markIntactScript, [randomUUID()]);
      token = '';
    },
  };
}

function restoredRun(run: Run): Values {
  return [
    run.id,
    run.service,
    run.service_uid,
    inputToken(run.input),
    recordOf(run, 1),
    factsTextOf(run),
    stateNumber(run.state),
    Math.floor(run.created_at),
    // A run that ended has a time of end, or it would never expire.
    isFinal(run.state) ? Math.floor(run.finished_at ?? run.created_at) : '',
    versionInUse(run),
  ];
}

function batches(rows: readonly Values[]): readonly Values[][] {
  const result: Values[][] = [];
  let bytes = 0;
  for (const row of rows) {
    const last = result.at(-1);
    const size = row.reduce((sum: number, value) => sum + String(value).length, 0);
    bytes += size;
    if (last === undefined || last.length >= scriptRuns || bytes > scriptBytes) {
      result.push([row]);
      bytes = size;
    } else last.push(row);
  }
  return result;
}

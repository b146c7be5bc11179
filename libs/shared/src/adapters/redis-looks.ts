import { doubt, type Look } from '../checks/index.ts';
import type { ComponentCheck } from '../contracts/index.ts';
import { isAppError, messageOf } from '../errors/index.ts';
import type { LedgerRecovery } from '../stores/index.ts';
import { redisScript, type RedisConnection } from './redis-connection.ts';
import { ledgerCheck, parseRedisInfo, redisChecks } from './redis-verdicts.ts';

export interface RedisLooksDeps {
  readonly redis: RedisConnection;
  readonly ledger: Pick<LedgerRecovery, 'isIntact'>;
}

// `CONFIG` may not be called by scripts, and hosted servers do not have it; all that is wanted of it is in here as well.
const infoScript = redisScript(`return redis.call('INFO')`);

/** What is looked at of Redis: the server, and whether it still has the ledger. */
export function redisLooks({ redis, ledger }: RedisLooksDeps): readonly Look[] {
  const mend =
    'Start the server, or mend REDIS_URL (redis://user:password@host:port, rediss:// for TLS) and REDIS_CA.';
  return [
    { name: 'Redis', mend, look: async () => serverFindings(redis) },
    {
      name: 'run ledger',
      mend: 'See the check of Redis itself.',
      look: async () => [ledgerCheck(await ledger.isIntact())],
    },
  ];
}

async function serverFindings(redis: RedisConnection): Promise<readonly ComponentCheck[]> {
  try {
    return redisChecks(parseRedisInfo(String(await redis.run(infoScript, []))));
  } catch (error) {
    if (isAppError(error)) throw error;
    return [
      doubt(
        'Redis',
        `The server does not say how it is: ${messageOf(error)}`,
        'Let the user of REDIS_URL call INFO, so that its memory and its settings can be checked.',
      ),
    ];
  }
}

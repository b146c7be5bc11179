import { randomUUID } from 'node:crypto';
import { createRedisRunLedger, openRedis } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { removeAll } from '../redis-cleaning.ts';
import { describeRebuild } from '../rebuild.suite.ts';

const log = silentLogger();

describeRebuild('Redis', async (messages) => {
  const { REDIS_URL: url } = process.env;
  if (!url) throw new Error('this test needs a Redis server: set REDIS_URL');
  const namespace = `test-${randomUUID()}`;
  const redis = await openRedis({ url: new Secret(url), namespace, name: 'test', clock, log });
  const forget = async (): Promise<void> => {
    await redis.run(removeAll, []);
  };
  const ledger = createRedisRunLedger({ redis, clock, log, carryRun: true, ...messages });
  return {
    ledger: { ...ledger, forget },
    close: async () => {
      await forget();
      await redis.close();
    },
  };
});

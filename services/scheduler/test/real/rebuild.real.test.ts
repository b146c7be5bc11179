import { randomUUID } from 'node:crypto';
import { createRedisRunLedger, openRedis } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { describeRebuild } from '../rebuild.suite.ts';

const log = silentLogger();
/** Not among the server's scripts: it is sent whole. */
const removeAll = {
  sha: '0'.repeat(40),
  lua: `local cursor = '0'
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', KEYS[1] .. '*', 'COUNT', 1000)
  cursor = found[1]
  if #found[2] > 0 then redis.call('UNLINK', unpack(found[2])) end
until cursor == '0'
return 1`,
};

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

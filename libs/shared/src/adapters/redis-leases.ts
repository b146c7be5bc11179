import { randomUUID } from 'node:crypto';
import type { Logger } from '../telemetry/index.ts';
import type { Leases } from '../stores/index.ts';
import { type RedisConnection, redisScript } from './redis-connection.ts';

const hold = redisScript(`
local key = KEYS[1] .. 'lease:' .. ARGV[1]
if redis.call('GET', key) == ARGV[2] then
  return redis.call('PEXPIRE', key, ARGV[3])
end
if redis.call('SET', key, ARGV[2], 'NX', 'PX', ARGV[3]) then return 1 end
return 0
`);

const release = redisScript(`
local key = KEYS[1] .. 'lease:' .. ARGV[1]
if redis.call('GET', key) == ARGV[2] then redis.call('DEL', key) end
return 0
`);

export interface RedisLeasesOptions {
  readonly redis: RedisConnection;
  readonly log: Logger;
  /** Who holds them: one for each process. @default a random one */
  readonly holder?: string;
}

/** Leases as keys that expire: their time is Redis' own, which is one for all processes. */
export function createRedisLeases({ redis, log, holder = randomUUID() }: RedisLeasesOptions): Leases {
  return {
    hold: async (name, forMs) => {
      try {
        return (await redis.run(hold, [name, holder, Math.max(1, Math.floor(forMs))])) === 1;
      } catch (error) {
        log.debug({ err: error, lease: name }, 'lease cannot be known');
        return false;
      }
    },
    release: async (name) => {
      try {
        await redis.run(release, [name, holder]);
      } catch (error) {
        // It expires by itself.
        log.debug({ err: error, lease: name }, 'lease cannot be released');
      }
    },
  };
}

import { redisScript, type RedisConnection } from '@sluice/shared/adapters';
import type { ImageUses } from '../clean-up-ports.ts';

/** Items of a user that are kept; retention forgets those that are gone. */
const maxItems = 20_000;
/** Arguments of one step. */
const batch = 500;

const note = redisScript(`
local key = KEYS[1] .. 'image-uses:' .. ARGV[1]
redis.call('SADD', KEYS[1] .. 'image-users', ARGV[1])
local at = tonumber(ARGV[2])
local room = ${maxItems} - redis.call('HLEN', key)
for i = 3, #ARGV do
  local known = redis.call('HGET', key, ARGV[i])
  if known then
    if tonumber(known) < at then redis.call('HSET', key, ARGV[i], ARGV[2]) end
  elseif room > 0 then
    redis.call('HSET', key, ARGV[i], ARGV[2])
    room = room - 1
  end
end
return 0
`);

const forget = redisScript(`
local key = KEYS[1] .. 'image-uses:' .. ARGV[1]
for i = 2, #ARGV do redis.call('HDEL', key, ARGV[i]) end
return 0
`);

const read = redisScript(`return redis.call('HGETALL', KEYS[1] .. 'image-uses:' .. ARGV[1])`);
const users = redisScript(`return redis.call('SMEMBERS', KEYS[1] .. 'image-users')`);

/** A hash for each user and a set of them all: an entry costs some 100 bytes. */
export function createRedisImageUses(redis: RedisConnection): ImageUses {
  return {
    note: async (user, items, at) => {
      for (const some of batches(items)) await redis.run(note, [user, Math.floor(at), ...some]);
    },
    of: async (user) => {
      const reply = textsOf(await redis.run(read, [user]));
      const uses = new Map<string, number>();
      for (let i = 0; i + 1 < reply.length; i += 2) uses.set(reply[i] ?? '', Number(reply[i + 1]));
      return uses;
    },
    forget: async (user, items) => {
      for (const some of batches(items)) await redis.run(forget, [user, ...some]);
    },
    users: async () => textsOf(await redis.run(users, [])),
  };
}

function* batches(items: readonly string[]): Generator<readonly string[]> {
  for (let from = 0; from < items.length; from += batch) yield items.slice(from, from + batch);
}

function textsOf(reply: unknown): readonly string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}

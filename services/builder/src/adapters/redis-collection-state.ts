import { redisScript, type RedisConnection } from '@sluice/shared/adapters';
import { AppError } from '@sluice/shared/errors';
import type {
  ClaimedCollection,
  CollectionHold,
  CollectionState,
  LastCollection,
} from '../clean-up-ports.ts';
import { isCollectionPhase, type CollectionPhase } from '../domain/collection-phases.ts';

/**
 * `collection` is a hash that stays when a collection is over, with an empty phase: without it, a process that slept through its own end could not tell that from an
 * emptied store. Times are the server's.
 */
const prelude = `
local key = KEYS[1] .. 'collection'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function whole(number) return string.format('%.0f', number) end
`;

const claim = redisScript(`${prelude}
local found = redis.call('HMGET', key, 'phase', 'lease_until')
local phase = found[1]
local lease = whole(now + tonumber(ARGV[2]))
local deadline = whole(now + tonumber(ARGV[3]))
if not phase or phase == '' then
  if ARGV[4] ~= 'begin' then return { 'none', '' } end
  redis.call('HSET', key, 'holder', ARGV[1], 'phase', 'pausing', 'started_at', whole(now), 'lease_until', lease, 'deadline', deadline)
  return { 'begun', '' }
end
if tonumber(found[2]) > now then return { 'busy', phase } end
redis.call('HSET', key, 'holder', ARGV[1], 'lease_until', lease, 'deadline', deadline)
return { 'left', phase }
`);

const hold = redisScript(`${prelude}
local found = redis.call('HMGET', key, 'holder', 'phase', 'deadline')
if not found[1] then return 'gone' end
local deadline = tonumber(found[3])
if found[1] ~= ARGV[1] or found[2] == '' or deadline <= now then return 'taken' end
redis.call('HSET', key, 'lease_until', whole(math.min(now + tonumber(ARGV[2]), deadline)))
if ARGV[3] ~= '' then redis.call('HSET', key, 'phase', ARGV[3]) end
return 'held'
`);

const finish = redisScript(`${prelude}
local found = redis.call('HMGET', key, 'holder', 'phase')
if found[1] and (found[1] ~= ARGV[1] or found[2] == '') then return 'taken' end
redis.call('HSET', KEYS[1] .. 'collection-last', 'at', whole(now), 'outcome', ARGV[2])
if not found[1] then return 'gone' end
redis.call('HSET', key, 'phase', '')
return 'held'
`);

const underWay = redisScript(
  `return redis.call('HMGET', KEYS[1] .. 'collection', 'phase', 'started_at', 'deadline')`,
);
const last = redisScript(`return redis.call('HMGET', KEYS[1] .. 'collection-last', 'at', 'outcome')`);

/** The collection under way, in Redis. */
export function createRedisCollectionState(redis: RedisConnection): CollectionState {
  const claimAs = async (
    mode: 'begin' | 'left',
    holder: string,
    terms: { readonly leaseMs: number; readonly totalMs: number },
  ): Promise<ClaimedCollection> => {
    const [kind, phase] = textsOf(await redis.run(claim, [holder, terms.leaseMs, terms.totalMs, mode]));
    if (kind === 'begun' || kind === 'none') return { kind };
    if (kind === 'left' || kind === 'busy') return { kind, phase: phaseOf(phase) };
    throw unreadable();
  };
  return {
    claim: async (holder, terms) => claimAs('begin', holder, terms),
    takeOver: async (holder, terms) => claimAs('left', holder, terms),
    enter: async (holder, phase, leaseMs) => holdOf(await redis.run(hold, [holder, leaseMs, phase])),
    renew: async (holder, leaseMs) => holdOf(await redis.run(hold, [holder, leaseMs, ''])),
    finish: async (holder, outcome) => holdOf(await redis.run(finish, [holder, JSON.stringify(outcome)])),
    underWay: async () => {
      const [phase, startedAt, deadline] = textsOf(await redis.run(underWay, []));
      if (phase === '') return undefined;
      return { phase: phaseOf(phase), startedAt: Number(startedAt), deadline: Number(deadline) };
    },
    last: async () => {
      const [at, outcome] = textsOf(await redis.run(last, []));
      if (at === '' || outcome === undefined) return undefined;
      return { at: Number(at), outcome: JSON.parse(outcome) as LastCollection['outcome'] };
    },
  };
}

/** Absent fields are empty. */
function textsOf(reply: unknown): readonly string[] {
  if (!Array.isArray(reply)) throw unreadable();
  return reply.map((part: unknown) => (typeof part === 'string' ? part : ''));
}

function holdOf(reply: unknown): CollectionHold {
  if (reply === 'held' || reply === 'taken' || reply === 'gone') return reply;
  throw unreadable();
}

/** A phase of another version counts as the one after which all has to be undone. */
function phaseOf(text: string | undefined): CollectionPhase {
  return text !== undefined && isCollectionPhase(text) ? text : 'collecting';
}

function unreadable(): AppError {
  return new AppError('unavailable', 'Redis answers what no state of a collection is.');
}

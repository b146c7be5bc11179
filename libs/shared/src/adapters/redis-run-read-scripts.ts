import { type RedisScript, redisScript } from './redis-connection.ts';
import { gate } from './redis-run-scripts.ts';

/** Scripts of the ledger that only read. */

/** → 1 */
export const intactScript: RedisScript = redisScript(`${gate} return 1`);

/** ARGV: id → number, record, facts; nothing where there is no record */
export const getScript: RedisScript = redisScript(`${gate}
local seq = redis.call('HGET', p .. 'ids', ARGV[1])
if not seq then return {} end
return { seq, redis.call('HGET', p .. 'runs', seq), redis.call('HGET', p .. 'facts', seq) }
`);

/** ARGV: ids → 1 or 0 of each */
export const claimedScript: RedisScript = redisScript(`${gate}
local reply = {}
for i, id in ipairs(ARGV) do
  local there = redis.call('HEXISTS', p .. 'ids', id) == 1 or redis.call('ZSCORE', p .. 'claims', id) ~= false
  reply[i] = there and 1 or 0
end
return reply
`);

/** ARGV: key of an index without the state, in front of it and behind it → runs of each state */
export const countsScript: RedisScript = redisScript(`${gate}
local reply = {}
for state = 0, 6 do reply[state + 1] = redis.call('ZCARD', p .. ARGV[1] .. state .. ARGV[2]) end
return reply
`);

/** → uid/version of each version in use */
export const versionsScript: RedisScript = redisScript(`${gate} return redis.call('HKEYS', p .. 'versions')`);

/**
 * Merges stretches of indexes, each in order of acceptance, and reads the runs. Looks at 1001 entries of each index at most, fewer when nothing is filtered.
 * ARGV: newest or oldest, number after which, runs at most, bytes at most, service, uid, states as digits (what is filtered beside the indexes; empty: nothing),
 * indexes
 * → [why it ended: `end`, `full`, or `looked` at enough; last number looked at; number, record, facts, …]
 */
export const listScript: RedisScript = redisScript(`${gate}
local newest, after, limit, bytes = ARGV[1] == 'newest', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local service, uid, states = ARGV[5], ARGV[6], ARGV[7]
local filtered = service ~= '' or uid ~= '' or states ~= ''
local take = filtered and 1001 or limit + 1
local command, from, to = 'ZRANGEBYSCORE', '-inf', '+inf'
if newest then command, from, to = 'ZREVRANGEBYSCORE', '+inf', '-inf' end
if after ~= '' then from = '(' .. after end

local lists, places = {}, {}
for i = 8, #ARGV do
  local found = redis.call(command, p .. ARGV[i], from, to, 'LIMIT', 0, take)
  if #found > 0 then
    lists[#lists + 1] = found
    places[#lists] = 1
  end
end
local function nearest()
  local best, number
  for i, list in ipairs(lists) do
    local entry = tonumber(list[places[i]])
    if entry and (not best or (newest and entry > number) or (not newest and entry < number)) then
      best, number = i, entry
    end
  end
  if not best then return nil end
  places[best] = places[best] + 1
  return lists[best][places[best] - 1]
end
local function wanted(record)
  if not filtered then return true end
  local state, head = string.match(record, '^%d+\\n(%d)\\n([^\\n]*)\\n')
  if states ~= '' and not string.find(states, state, 1, true) then return false end
  local h = cjson.decode(head)
  return (service == '' or h[2] == service) and (uid == '' or h[3] == uid)
end

local reply, items, size, last = { 'end', '' }, 0, 0, ''
for looked = 1, take do
  local seq = nearest()
  if not seq then return reply end
  local record = redis.call('HGET', p .. 'runs', seq)
  if record and wanted(record) then
    local facts = redis.call('HGET', p .. 'facts', seq)
    size = size + #record + #facts
    if items >= limit or (items > 0 and size > bytes) then
      reply[1] = 'full'
      return reply
    end
    items = items + 1
    reply[#reply + 1] = seq
    reply[#reply + 1] = record
    reply[#reply + 1] = facts
  end
  reply[2] = seq
end
reply[1] = 'looked'
return reply
`);

/** ARGV: messages at most, bytes at most → number, time, message, … oldest first */
export const readOutboxScript: RedisScript = redisScript(`${gate}
local limit, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply, size, from = {}, 0, '-'
while #reply < 3 * limit do
  local step = math.min(50, limit - #reply / 3)
  local entries = redis.call('XRANGE', p .. 'outbox', from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    size = size + #fields[4]
    if size > bytes and #reply > 0 then return reply end
    reply[#reply + 1] = string.match(id, '^%d+')
    reply[#reply + 1] = fields[2]
    reply[#reply + 1] = fields[4]
    from = '(' .. id
  end
  if #entries < step then return reply end
end
return reply
`);

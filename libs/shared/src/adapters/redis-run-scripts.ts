import { type RedisScript, redisScript } from './redis-connection.ts';

/*
 * Each step of the ledger that writes, as one script. Keys below the namespace's prefix:
 *   epoch       there unless the memory was lost; without it every script answers `lost`
 *   rebuilding  the restoration under way: its token
 *   meta        hash: seq (number of the last run), out (number of the last message)
 *   ids         hash: id → number, of runs with a record
 *   claims      sorted set by time of claim: ids whose records are gone
 *   runs, facts hashes: number → record, facts (redis-run-record.ts)
 *   s:<state>, v:<state>:<service>, u:<state>:<uid>, i:<input>
 *               sorted sets of numbers, by number; their sizes are the counts
 *   finished    sorted set of numbers, by time of end
 *   versions    hash: <uid>/<version> → runs that keep it in use
 *   outbox      stream: t (time), m (message)
 * Redis undoes nothing of a script that fails: each one looks first and then writes. A full memory refuses the first command that needs
 * some, and lets a script that wrote before go on; so those that free memory begin with that.
 */

/** What every script begins with. */
export const gate = `
local p = KEYS[1]
if redis.call('EXISTS', p .. 'epoch') == 0 then return 'lost' end
`;

/** Stores a run that is new, and whether an id is claimed. */
const storing = `
local function claimed(id)
  return redis.call('HEXISTS', p .. 'ids', id) == 1 or redis.call('ZSCORE', p .. 'claims', id) ~= false
end
local function store(seq, state, id, service, uid, input, record, facts)
  redis.call('HSET', p .. 'ids', id, seq)
  redis.call('HSET', p .. 'runs', seq, record)
  redis.call('HSET', p .. 'facts', seq, facts)
  redis.call('ZADD', p .. 's:' .. state, seq, seq)
  redis.call('ZADD', p .. 'v:' .. state .. ':' .. service, seq, seq)
  redis.call('ZADD', p .. 'u:' .. state .. ':' .. uid, seq, seq)
  if input ~= '' then redis.call('ZADD', p .. 'i:' .. input, seq, seq) end
end
`;

/** Appends the arguments from..to to the outbox; answers the number of the first. */
const posting = `
local function post(at, from, to)
  if to < from then return 0 end
  local first = redis.call('HINCRBY', p .. 'meta', 'out', to - from + 1) - (to - from)
  for i = from, to do
    redis.call('XADD', p .. 'outbox', string.format('%.0f-1', first + i - from), 't', at, 'm', ARGV[i])
  end
  return first
end
`;

/**
 * ARGV: messages that the outbox may hold, time, whether to look at runs that are there, number of runs; of each run: id, service, uid, input, record, facts,
 * number of messages, messages. Numbers of runs follow the time, so that a restored run finds its place among the others.
 * → of each run: number of its first message (0 without one); −1 where it was claimed before, −2 where nothing happened to it since; `full`
 */
export const claimScript: RedisScript = redisScript(`${gate}${storing}${posting}
local at, look, n = ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
if redis.call('XLEN', p .. 'outbox') + 2 * n > tonumber(ARGV[1]) then return 'full' end
local seq = tonumber(redis.call('HGET', p .. 'meta', 'seq') or '0')
local base = math.floor(tonumber(at)) * 100
local function untouched(id)
  local number = redis.call('HGET', p .. 'ids', id)
  return number and string.find(redis.call('HGET', p .. 'runs', number), '^1\\n0\\n') ~= nil
end
local reply, i = {}, 5
for k = 1, n do
  local id, messages = ARGV[i], tonumber(ARGV[i + 6])
  if claimed(id) then
    reply[k] = look and untouched(id) and -2 or -1
  else
    seq = math.max(seq + 1, base)
    local number = string.format('%.0f', seq)
    redis.call('HSET', p .. 'meta', 'seq', number)
    store(number, '0', id, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    reply[k] = post(at, i + 7, i + 6 + messages)
  end
  i = i + 7 + messages
end
return reply
`);

/**
 * A change of one run, made of what was read before: nothing happens when it has another revision meanwhile.
 * ARGV: number, revision, record, state before, state after, service, uid, time of end, version in use before, after, slots, slots of the service,
 * slots it has itself, time, messages. Empty: none.
 * → number of the first message; `gone`; `no_slot`; or [record, facts] as they are
 */
export const changeScript: RedisScript = redisScript(`${gate}${posting}
local seq, from, to, service, uid = ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local record = redis.call('HGET', p .. 'runs', seq)
if not record then return 'gone' end
if string.match(record, '^%d+') ~= ARGV[2] then return { record, redis.call('HGET', p .. 'facts', seq) } end

local function active(prefix, suffix)
  return redis.call('ZCARD', p .. prefix .. '1' .. suffix) + redis.call('ZCARD', p .. prefix .. '2' .. suffix)
end
local own = tonumber(ARGV[13])
if ARGV[11] ~= '' and active('s:', '') - own >= tonumber(ARGV[11]) then return 'no_slot' end
if ARGV[12] ~= '' and active('v:', ':' .. service) - own >= tonumber(ARGV[12]) then return 'no_slot' end

redis.call('HSET', p .. 'runs', seq, ARGV[3])
local function move(prefix, suffix)
  redis.call('ZREM', p .. prefix .. from .. suffix, seq)
  redis.call('ZADD', p .. prefix .. to .. suffix, seq, seq)
end
if from ~= to then
  move('s:', '')
  move('v:', ':' .. service)
  move('u:', ':' .. uid)
end
if ARGV[8] ~= '' then redis.call('ZADD', p .. 'finished', ARGV[8], seq) end
if ARGV[9] ~= ARGV[10] then
  if ARGV[9] ~= '' and redis.call('HINCRBY', p .. 'versions', ARGV[9], -1) <= 0 then
    redis.call('HDEL', p .. 'versions', ARGV[9])
  end
  if ARGV[10] ~= '' then redis.call('HINCRBY', p .. 'versions', ARGV[10], 1) end
end
return post(ARGV[14], 15, #ARGV)
`);

/** Drops the record of a run that is finished; its claim stays. Begins with what frees memory. */
const dropping = `
local function drop(seq)
  local record = redis.call('HGET', p .. 'runs', seq)
  if not record then
    redis.call('ZREM', p .. 'finished', seq)
    return nil
  end
  local state, head = string.match(record, '^%d+\\n(%d)\\n([^\\n]*)\\n')
  if tonumber(state) < 3 then return nil end
  local h = cjson.decode(head)
  local id, service, uid, created, input = h[1], h[2], h[3], h[4], h[5]
  redis.call('HDEL', p .. 'runs', seq)
  redis.call('HDEL', p .. 'facts', seq)
  redis.call('HDEL', p .. 'ids', id)
  redis.call('ZREM', p .. 's:' .. state, seq)
  redis.call('ZREM', p .. 'v:' .. state .. ':' .. service, seq)
  redis.call('ZREM', p .. 'u:' .. state .. ':' .. uid, seq)
  if input ~= '' then redis.call('ZREM', p .. 'i:' .. input, seq) end
  redis.call('ZREM', p .. 'finished', seq)
  redis.call('ZADD', p .. 'claims', string.format('%.0f', math.floor(created)), id)
  return id, service
end
`;

/** ARGV: ids → those removed */
export const removeScript: RedisScript = redisScript(`${gate}${dropping}
local gone = {}
for _, id in ipairs(ARGV) do
  local seq = redis.call('HGET', p .. 'ids', id)
  if seq and drop(seq) then gone[#gone + 1] = id end
end
return gone
`);

/** ARGV: time, records at most → id, service, id, service … of records of runs that ended before */
export const expireRecordsScript: RedisScript = redisScript(`${gate}${dropping}
local gone = {}
for _, seq in ipairs(redis.call('ZRANGEBYSCORE', p .. 'finished', '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local id, service = drop(seq)
  if id then
    gone[#gone + 1] = id
    gone[#gone + 1] = service
  end
end
return gone
`);

/** ARGV: time, claims at most → how many claims without a record were made before and are gone now */
export const expireClaimsScript: RedisScript = redisScript(`${gate}
local ids = redis.call('ZRANGEBYSCORE', p .. 'claims', '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #ids > 0 then redis.call('ZREM', p .. 'claims', unpack(ids)) end
return #ids
`);

/** ARGV: numbers of messages */
export const removeOutboxScript: RedisScript = redisScript(`${gate}
for i, out in ipairs(ARGV) do redis.call('XDEL', p .. 'outbox', out .. '-1') end
return 0
`);

/**
 * What restoring begins with. A memory that is lost again meanwhile has no token, or another one: what was restored before is gone.
 * ARGV: token that was answered before, or nothing; token to begin with
 */
const session = `
local p = KEYS[1]
local token = ''
if redis.call('EXISTS', p .. 'epoch') == 0 then
  token = redis.call('GET', p .. 'rebuilding')
  if ARGV[1] ~= '' and token ~= ARGV[1] then return 'lost' end
  if not token then
    token = ARGV[2]
    redis.call('SET', p .. 'rebuilding', token)
  end
end
`;

/**
 * ARGV after the tokens: number of runs; of each: id, service, uid, input, record, facts, state, time of claim, time of end, version in use → token
 * Takes the first free number at the time of the claim: steps that double keep the search short where a thousand were claimed in one millisecond.
 */
export const restoreScript: RedisScript = redisScript(`${session}${storing}
local last = tonumber(redis.call('HGET', p .. 'meta', 'seq') or '0')
local tried = {}
local i = 4
for k = 1, tonumber(ARGV[3]) do
  local id, state = ARGV[i], ARGV[i + 6]
  if not claimed(id) then
    local base, step = math.floor(tonumber(ARGV[i + 7])) * 100, 1
    local seq = tried[base] or base
    while redis.call('HEXISTS', p .. 'runs', string.format('%.0f', seq)) == 1 do
      seq = seq + step
      step = step * 2
    end
    tried[base] = seq + 1
    last = math.max(last, seq)
    local number = string.format('%.0f', seq)
    store(number, state, id, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    if ARGV[i + 8] ~= '' then redis.call('ZADD', p .. 'finished', ARGV[i + 8], number) end
    if ARGV[i + 9] ~= '' then redis.call('HINCRBY', p .. 'versions', ARGV[i + 9], 1) end
  end
  i = i + 10
end
redis.call('HSET', p .. 'meta', 'seq', string.format('%.0f', last))
return token
`);

/** ARGV after the tokens: id, time of claim, id, time of claim … → token */
export const restoreClaimsScript: RedisScript = redisScript(`${session}${storing}
for i = 3, #ARGV, 2 do
  if not claimed(ARGV[i]) then redis.call('ZADD', p .. 'claims', ARGV[i + 1], ARGV[i]) end
end
return token
`);

/** ARGV after the tokens: name of the epoch → `intact` where it was; `marked` */
export const markIntactScript: RedisScript = redisScript(`${session}
if redis.call('EXISTS', p .. 'epoch') == 1 then return 'intact' end
redis.call('SET', p .. 'epoch', ARGV[3])
redis.call('DEL', p .. 'rebuilding')
return 'marked'
`);

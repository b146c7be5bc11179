import { type RedisScript, redisScript } from '@sluice/shared/adapters';

/*
 * Each step of the store, as one script. Keys below `build:` of the namespace's prefix:
 *   b:<build>          hash: the build, without its file
 *   f:<build>          its requirements file, while it is open
 *   j:<build>          sorted set of the ids of the tickets that want it, by time of joining; once it has ended: of those that ended with it
 *   n:<build>          set of <user>:<ticket> of all tickets that name it
 *   open               sorted set of builds that wait or run, by creation
 *   running            set of those that run
 *   w:<user>           sorted set of builds that wait, by order
 *   r:<user>           set of builds that run
 *   o:<key>            sorted set of open builds of one content, by creation; without those that nobody wants any more
 *   turn               the highest order that began, while something is open
 *   t:<user>:<ticket>  hash: the ticket; its state is `open` until it ends, since it is then as its build is
 *   u:<user>           sorted set of <creation, 15 digits><ticket>, by name
 *   x:<user>           sorted set of the ids of tickets that ended at once, by time of end: no limit of builds bounds them
 *   ended, e:<user>    sorted sets of <user>:<ticket> and <ticket>, by time of end
 * Redis undoes nothing of a script that fails: each one looks first and then writes. A full memory refuses the first command that needs
 * some, and lets a script that wrote before go on.
 */

/** What every script begins with: how tickets and builds are read. Nothing stands for what is not there. */
const reading = `
local p = KEYS[1] .. 'build:'
local call = redis.call
local function ticketKey(user, id) return p .. 't:' .. user .. ':' .. id end

local function seeTicket(user, id)
  local t = call('HMGET', ticketKey(user, id),
    'facts', 'build', 'state', 'started', 'ended', 'message', 'code', 'progress', 'digest', 'size')
  if not t[1] then return nil end
  if t[3] == 'open' then
    local b = call('HMGET', p .. 'b:' .. t[2], 'state', 'started', 'message', 'progress')
    t[3], t[4], t[6], t[8] = b[1] or 'queued', b[2], b[3], b[4]
  end
  local view = { id }
  for i = 1, 10 do view[i + 1] = t[i] or '' end
  return view
end

local function seeBuild(id, whole)
  local b = call('HMGET', p .. 'b:' .. id,
    'key', 'spec', 'state', 'order', 'created', 'started', 'ended', 'message', 'progress', 'digest', 'size', 'lost')
  if not b[1] then return nil end
  for i = 1, 12 do b[i] = b[i] or '' end
  local file = whole and call('GET', p .. 'f:' .. id)
  return { id, b, call('ZRANGE', p .. 'j:' .. id, 0, -1), file and { file } or {} }
end

local function isOpen(state) return state == 'queued' or state == 'running' end
`;

/** How builds and tickets end and go. Begins with what frees memory. */
const ending = `
local function forgetUnnamed(build)
  if call('SCARD', p .. 'n:' .. build) > 0 then return false end
  return call('DEL', p .. 'b:' .. build, p .. 'j:' .. build) > 0
end

local function close(id, user, key, at, state, message, digest, size)
  call('DEL', p .. 'f:' .. id)
  call('ZREM', p .. 'open', id)
  call('SREM', p .. 'running', id)
  call('ZREM', p .. 'w:' .. user, id)
  call('SREM', p .. 'r:' .. user, id)
  call('ZREM', p .. 'o:' .. key, id)
  if call('EXISTS', p .. 'open') == 0 then call('DEL', p .. 'turn') end
  call('HSET', p .. 'b:' .. id, 'state', state, 'ended', at, 'message', message, 'digest', digest, 'size', size)
  forgetUnnamed(id)
end

local function endTicket(user, id, at, state, ended)
  call('HSET', ticketKey(user, id), 'state', state, 'ended', at, 'started', ended.started or '',
    'message', ended.message or '', 'code', ended.code or '', 'progress', ended.progress or '',
    'digest', ended.digest or '', 'size', ended.size or '')
  call('ZADD', p .. 'ended', at, user .. ':' .. id)
  call('ZADD', p .. 'e:' .. user, at, id)
end

-- Of a ticket that has ended. Answers its build where that went with it.
local function dropTicket(user, id)
  local key = ticketKey(user, id)
  local t = call('HMGET', key, 'build', 'created')
  call('DEL', key)
  call('ZREM', p .. 'ended', user .. ':' .. id)
  call('ZREM', p .. 'e:' .. user, id)
  call('ZREM', p .. 'x:' .. user, id)
  if not t[1] then return nil end
  call('ZREM', p .. 'u:' .. user, t[2] .. id)
  call('ZREM', p .. 'j:' .. t[1], id)
  call('SREM', p .. 'n:' .. t[1], user .. ':' .. id)
  if call('ZSCORE', p .. 'open', t[1]) or not forgetUnnamed(t[1]) then return nil end
  return t[1]
end

-- Makes room for a ticket of the same id. Writes nothing where there is none: a full memory has to refuse what comes then.
local function replaceTicket(user, id)
  if call('EXISTS', ticketKey(user, id)) == 1 then dropTicket(user, id) end
end

local function storeTicket(user, id, facts, created, build, state)
  call('HSET', ticketKey(user, id), 'facts', facts, 'created', created, 'build', build, 'state', state)
  call('ZADD', p .. 'u:' .. user, 0, created .. id)
  call('SADD', p .. 'n:' .. build, user .. ':' .. id)
end

-- A ticket that is not to be replaced by another one of its id.
local function standing(user, id)
  local t = call('HMGET', ticketKey(user, id), 'state', 'forgotten')
  return t[1] and not (t[2] and t[1] ~= 'open')
end
`;

/**
 * ARGV: user, ticket, its facts, its creation (15 digits), build, key, user's builds that may be open, builds of all, tickets of one build, greatest order,
 * whether it has to be a new build, time, spec, whether there is a file, file
 * → `known`, ticket; `joined` or `created`, build, ticket; `full`, of what, how many are open; `taken`: the id of the build
 */
export const joinScript: RedisScript = redisScript(`${reading}${ending}
local user, ticket, build, key = ARGV[1], ARGV[2], ARGV[5], ARGV[6]
if standing(user, ticket) then return { 'known', seeTicket(user, ticket) } end

local joined
if ARGV[11] ~= '1' then
  for _, id in ipairs(call('ZREVRANGE', p .. 'o:' .. key, 0, -1)) do
    if call('ZCARD', p .. 'j:' .. id) > 0 then joined = id break end
  end
end
if joined then
  local wanting = call('ZCARD', p .. 'j:' .. joined)
  if wanting >= tonumber(ARGV[9]) then return { 'full', 'user', wanting } end
else
  local mine = call('ZCARD', p .. 'w:' .. user) + call('SCARD', p .. 'r:' .. user)
  if mine >= tonumber(ARGV[7]) then return { 'full', 'user', mine } end
  local all = call('ZCARD', p .. 'open')
  if all >= tonumber(ARGV[8]) then return { 'full', 'total', all } end
  if call('EXISTS', p .. 'b:' .. build) == 1 then return { 'taken' } end
end

replaceTicket(user, ticket)
if not joined then
  local last = tonumber(call('ZREVRANGE', p .. 'w:' .. user, 0, 0, 'WITHSCORES')[2] or '0')
  local turn = tonumber(call('GET', p .. 'turn') or '1')
  local order = math.min(math.max(last + 1, turn), tonumber(ARGV[10]))
  call('HSET', p .. 'b:' .. build, 'key', key, 'user', user, 'spec', ARGV[13], 'state', 'queued', 'order', order, 'created', ARGV[12])
  if ARGV[14] == '1' then call('SET', p .. 'f:' .. build, ARGV[15]) end
  call('ZADD', p .. 'open', ARGV[12], build)
  call('ZADD', p .. 'w:' .. user, order, build)
  call('ZADD', p .. 'o:' .. key, ARGV[12], build)
end
local id = joined or build
storeTicket(user, ticket, ARGV[3], ARGV[4], id, 'open')
call('ZADD', p .. 'j:' .. id, ARGV[12], ticket)
return { joined and 'joined' or 'created', seeBuild(id, false), seeTicket(user, ticket) }
`);

/** ARGV: user, ticket, its facts, its creation (15 digits), build, state, started, ended, message, code, progress, digest, size, how many such tickets a user may have → ticket */
export const putScript: RedisScript = redisScript(`${reading}${ending}
local user, id = ARGV[1], ARGV[2]
if not standing(user, id) then
  replaceTicket(user, id)
  storeTicket(user, id, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
  endTicket(user, id, ARGV[8], ARGV[6],
    { started = ARGV[7], message = ARGV[9], code = ARGV[10], progress = ARGV[11], digest = ARGV[12], size = ARGV[13] })
  local atOnce = p .. 'x:' .. user
  call('ZADD', atOnce, ARGV[8], id)
  while call('ZCARD', atOnce) > tonumber(ARGV[14]) do
    local oldest = call('ZRANGE', atOnce, 0, 1)
    dropTicket(user, oldest[1] == id and oldest[2] or oldest[1])
  end
end
return seeTicket(user, id)
`);

/** ARGV: user, ticket */
export const forgetScript: RedisScript = redisScript(`${reading}
local key = ticketKey(ARGV[1], ARGV[2])
local state = call('HGET', key, 'state')
if state and state ~= 'open' then call('HSET', key, 'forgotten', '1') end
return 0
`);

/** ARGV: user, ticket → ticket */
export const ticketScript: RedisScript = redisScript(`${reading}
return seeTicket(ARGV[1], ARGV[2])
`);

/** ARGV: user, tickets at most, where the page before ended, state (or nothing), tickets to look at → tickets, where this page ended if there are more */
export const pageScript: RedisScript = redisScript(`${reading}
local user, limit, state, looks = ARGV[1], tonumber(ARGV[2]), ARGV[4], tonumber(ARGV[5])
local from = ARGV[3] == '' and '+' or '(' .. ARGV[3]
local found, last = {}, ''
for i, member in ipairs(call('ZREVRANGEBYLEX', p .. 'u:' .. user, from, '-', 'LIMIT', 0, looks + 1)) do
  if #found == limit or i > looks then return { found, last } end
  local t = seeTicket(user, string.sub(member, 16))
  if t and (state == '' or t[4] == state) then found[#found + 1] = t end
  last = member
end
return { found, '' }
`);

/** ARGV: build → build, with its file */
export const buildScript: RedisScript = redisScript(`${reading}
return seeBuild(ARGV[1], true)
`);

/** ARGV: build, time, builds of one user that may run → build with its file; `unwanted`; `later` */
export const beginScript: RedisScript = redisScript(`${reading}${ending}
local id, now = ARGV[1], ARGV[2]
local b = call('HMGET', p .. 'b:' .. id, 'state', 'user', 'key', 'order')
local state, user = b[1], b[2]
if not isOpen(state) then return 'unwanted' end
if call('ZCARD', p .. 'j:' .. id) == 0 then
  close(id, user, b[3], now, 'cancelled', 'Nobody wanted it any more.', '', '')
  return 'unwanted'
end
if state == 'queued' then
  if call('SCARD', p .. 'r:' .. user) >= tonumber(ARGV[3]) then return 'later' end
  call('HSET', p .. 'b:' .. id, 'state', 'running', 'started', now)
  call('ZREM', p .. 'w:' .. user, id)
  call('SADD', p .. 'r:' .. user, id)
  call('SADD', p .. 'running', id)
  local turn = tonumber(call('GET', p .. 'turn') or '1')
  call('SET', p .. 'turn', math.max(turn, tonumber(b[4])))
else
  call('HINCRBY', p .. 'b:' .. id, 'lost', 1)
end
call('HDEL', p .. 'b:' .. id, 'message', 'progress')
return seeBuild(id, true)
`);

/** ARGV: build, progress, message (or nothing) → 1 where it is wanted */
export const progressScript: RedisScript = redisScript(`${reading}
local key = p .. 'b:' .. ARGV[1]
if call('HGET', key, 'state') ~= 'running' or call('ZCARD', p .. 'j:' .. ARGV[1]) == 0 then return 0 end
call('HSET', key, 'progress', ARGV[2])
if ARGV[3] ~= '' then call('HSET', key, 'message', ARGV[3]) end
return 1
`);

/** ARGV: build, time, message */
export const againScript: RedisScript = redisScript(`${reading}${ending}
local id = ARGV[1]
local b = call('HMGET', p .. 'b:' .. id, 'state', 'user', 'key', 'order')
if not isOpen(b[1]) then return 0 end
if call('ZCARD', p .. 'j:' .. id) == 0 then
  close(id, b[2], b[3], ARGV[2], 'cancelled', 'Nobody wanted it any more.', '', '')
  return 0
end
call('HSET', p .. 'b:' .. id, 'state', 'queued', 'message', ARGV[3])
call('HDEL', p .. 'b:' .. id, 'started', 'progress')
call('SREM', p .. 'running', id)
call('SREM', p .. 'r:' .. b[2], id)
call('ZADD', p .. 'w:' .. b[2], b[4], id)
return 0
`);

/** ARGV: build, time, state, code, message, digest, size, ids of tickets that are tagged … → its user, tickets that ended with it, tickets to be tagged first */
export const endScript: RedisScript = redisScript(`${reading}${ending}
local id, now, state = ARGV[1], ARGV[2], ARGV[3]
local b = call('HMGET', p .. 'b:' .. id, 'state', 'user', 'key', 'started', 'progress')
local user = b[2]
if not b[1] then return { '', {}, {} } end
local wanting = call('ZRANGE', p .. 'j:' .. id, 0, -1)
local function views(ids)
  local list = {}
  for _, ticket in ipairs(ids) do list[#list + 1] = seeTicket(user, ticket) end
  return list
end
if not isOpen(b[1]) then return { user, views(wanting), {} } end
if state == 'succeeded' then
  local tagged, untagged = {}, {}
  for i = 8, #ARGV do tagged[ARGV[i]] = true end
  for _, ticket in ipairs(wanting) do
    if not tagged[ticket] then untagged[#untagged + 1] = ticket end
  end
  if #untagged > 0 then return { user, {}, views(untagged) } end
end
close(id, user, b[3], now, state, ARGV[5], ARGV[6], ARGV[7])
for _, ticket in ipairs(wanting) do
  endTicket(user, ticket, now, state, { started = b[4], message = ARGV[5], code = ARGV[4], progress = b[5], digest = ARGV[6], size = ARGV[7] })
end
return { user, views(wanting), {} }
`);

/** ARGV: user, ticket, time, message → ticket, its build where nobody wants that any more (or nothing) */
export const cancelScript: RedisScript = redisScript(`${reading}${ending}
local user, ticket, now, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local t = call('HMGET', ticketKey(user, ticket), 'state', 'build')
local state, build = t[1], t[2]
if not state then return nil end
local b = call('HMGET', p .. 'b:' .. build, 'state', 'key', 'started', 'progress')
local wanting = p .. 'j:' .. build
if state ~= 'open' then
  local abandoned = state == 'cancelled' and (b[1] == 'running' or b[1] == 'cancelled') and call('ZCARD', wanting) == 0
  return { seeTicket(user, ticket), abandoned and build or '' }
end
call('ZREM', wanting, ticket)
local abandoned = call('ZCARD', wanting) == 0
if abandoned then
  call('ZREM', p .. 'o:' .. b[2], build)
  if b[1] == 'queued' then close(build, user, b[2], now, 'cancelled', message, '', '') end
end
endTicket(user, ticket, now, 'cancelled', { started = b[3], message = message, code = 'cancelled', progress = b[4] })
return { seeTicket(user, ticket), abandoned and build or '' }
`);

/** → builds that wait or run, without their files, oldest first */
export const openScript: RedisScript = redisScript(`${reading}
local list = {}
for _, id in ipairs(call('ZRANGE', p .. 'open', 0, -1)) do list[#list + 1] = seeBuild(id, false) end
return list
`);

/** ARGV: user, or nothing for all → how many wait, how many run */
export const countsScript: RedisScript = redisScript(`${reading}
if ARGV[1] ~= '' then return { call('ZCARD', p .. 'w:' .. ARGV[1]), call('SCARD', p .. 'r:' .. ARGV[1]) } end
local running = call('SCARD', p .. 'running')
return { call('ZCARD', p .. 'open') - running, running }
`);

/** ARGV: time, user or nothing for all, tickets at most → how many went; user, build, user, build … of those that went with them */
export const removeScript: RedisScript = redisScript(`${reading}${ending}
local user, builds = ARGV[2], {}
local index = user == '' and p .. 'ended' or p .. 'e:' .. user
local members = call('ZRANGEBYSCORE', index, '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[3])
for _, member in ipairs(members) do
  local owner, ticket = user, member
  if user == '' then owner, ticket = string.match(member, '^([^:]*):(.*)$') end
  local build = dropTicket(owner, ticket)
  if build then
    builds[#builds + 1] = owner
    builds[#builds + 1] = build
  end
end
return { #members, builds }
`);

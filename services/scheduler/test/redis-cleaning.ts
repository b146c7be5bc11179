/** Removes all of a namespace. Not among the server's scripts: it is sent whole. */
export const removeAll = {
  sha: '0'.repeat(40),
  lua: `local cursor = '0'
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', KEYS[1] .. '*', 'COUNT', 1000)
  cursor = found[1]
  if #found[2] > 0 then redis.call('UNLINK', unpack(found[2])) end
until cursor == '0'
return 1`,
};

-- Passes changes of records on, in one order.
-- KEYS: all records, the stream of changes, the count of changes, the lock, the epoch
-- ARGV: the lock's token, or "" for what needs none; the epoch that the caller knows; who it is; milliseconds for which the lock holds on;
--       then for each record: its field, its version (0: a new one), the version that it was made on, its row as JSON
-- A change is refused (0) where Redis has a later version than the one that it was made on; under the lock all are refused with it. A change with a version of its own puts back what Redis has lost.
-- The errors have two words: one of a single word would get another code, ERR.

-- Entries of the stream that are kept: who was away for longer compares all records.
local MAX_ENTRIES = 100000

local function current(field)
  local known = redis.call('HGET', KEYS[1], field)
  return known and tonumber(string.match(known, '^{"rev":([%d.eE+-]+)')) or 0
end

-- Before the lock, which goes with all the rest when Redis is emptied.
if redis.call('GET', KEYS[5]) ~= ARGV[2] then return redis.error_reply('EPOCH another was begun') end
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('LOCKLOST it took too long') end
  for i = 5, #ARGV, 4 do
    if current(ARGV[i]) > tonumber(ARGV[i + 2]) then return redis.error_reply('LOCKLOST another was faster') end
  end
  -- Ten thousand records go in many calls, and a slow machine takes its time for each.
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
local revs = {}
for i = 5, #ARGV, 4 do
  local known = current(ARGV[i])
  local rev = ARGV[i + 1]
  if known > tonumber(ARGV[i + 2]) or (rev ~= '0' and known >= tonumber(rev)) then
    revs[#revs + 1] = 0
  else
    local given = 1
    if rev == '0' then
      given = redis.call('INCR', KEYS[3])
      rev = string.format('%d', given)
    end
    local value = string.format('{"rev":%s,"row":%s}', rev, ARGV[i + 3])
    redis.call('HSET', KEYS[1], ARGV[i], value)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', MAX_ENTRIES, '*', 'f', ARGV[i], 'v', value, 'o', ARGV[3])
    revs[#revs + 1] = given
  end
end
return revs

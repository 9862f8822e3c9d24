-- Gives the epoch that it is, and begins one where there is none, or one of another Redis process: what was started again may have lost its last changes.
-- KEYS: the count of changes, the epoch
-- ARGV: Redis' process, a name for a new epoch, the last version that the caller knows
-- A new epoch's count leaps over all that anybody may have seen: changes that were only seen by an instance that is away stay older than new ones. It goes on from the time in milliseconds, since
-- the first may be one that was away during the epoch before, and knows nothing of the versions that others have from it. Should the clock have been set back, it leaps from what is known.

local LEAP = 1000000
-- Seconds from 1970 to 2026. The smaller the whole numbers, the more room a double has between two of them (see `between` in replication.ts).
local YEAR_2026 = 1767225600

local epoch = redis.call('GET', KEYS[2])
if not epoch or string.sub(epoch, 1, #ARGV[1]) ~= ARGV[1] then
  epoch = ARGV[1] .. ARGV[2]
  local time = redis.call('TIME')
  local now = (time[1] - YEAR_2026) * 1000 + math.floor(time[2] / 1000)
  local known = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[3]))
  redis.call('SET', KEYS[2], epoch)
  redis.call('SET', KEYS[1], string.format('%.0f', now > known and now or known + LEAP))
end
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[3]) then redis.call('SET', KEYS[1], ARGV[3]) end
return epoch

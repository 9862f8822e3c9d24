-- Gives which epoch it is, the stream's last entry, and before which one others are gone from it.
-- KEYS: the epoch, the stream of changes

local epoch = redis.call('GET', KEYS[1]) or ''
if redis.call('EXISTS', KEYS[2]) == 0 then return { epoch, '0-0', '0-0' } end
local info = redis.call('XINFO', 'STREAM', KEYS[2])
local at = {}
for i = 1, #info, 2 do at[info[i]] = info[i + 1] end
local last, gone = at['last-generated-id'], '0-0'
if at['length'] == 0 then gone = last
elseif at['entries-added'] > at['length'] then gone = at['first-entry'][1] end
return { epoch, last, gone }

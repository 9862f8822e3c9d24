-- The limits of a batch of requests, each request's all at once: those of one that is denied are left as they were.
-- The algorithms are those of src/limits/*.ts, to the letter: one property test drives both.
-- KEYS: one for each limit and subject. ARGV: the time in milliseconds or "" for Redis' own, who asks, until when anybody waits for the answer ("" for ever), the terms of
-- all limits (JSON), and numbers: for each request how many limits it has and its deed, then for each limit its key, its terms (both from 1) and what it is charged.
-- Few arguments and one text as the reply, since each of them costs the gateway more than it costs here.
-- Reply, joined by spaces: the time, then for each request 1 or 0, then for each of its limits used, remaining, resetIn, retryIn and whether it fits.
-- With the deed "lease" each limit has a fourth number, how much to take if that is there, and its reply two more: how much was taken, and for how long it may be used.

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[1])
end
local instance = ARGV[2]
-- What was held up on its way, and is for requests that went another way, takes nothing.
local isLate = ARGV[3] ~= '' and now > tonumber(ARGV[3])
local floor, max, min, ceil = math.floor, math.max, math.min, math.ceil
local PRECISION = 1e-6

-- Lua's own way to write numbers would round them.
local format, match, call = string.format, string.match, redis.call
local function text(number)
  return format('%.17g', number)
end

local function numbers(value)
  local a, b, c = match(value, '^(%S+) (%S+) ?(%S*)$')
  return tonumber(a), tonumber(b), tonumber(c)
end

local pack, unpack = struct.pack, struct.unpack

local function put(key, value, idleAt)
  call('SET', key, value, 'PX', max(1, ceil(idleAt - now)))
end

-- The two numbers that a key holds, if it is there.
local function pair(key)
  local value = call('GET', key)
  if value then return unpack('<dd', value) end
end

-- When a window begins that is begun now.
local function begin(p)
  return p.aligned and now - now % p.window or now
end

local A = {}

A['fixed-window'] = {
  load = function(key, p)
    local start, used = pair(key)
    return { start = start or begin(p), used = used or 0 }
  end,
  left = function(s, p)
    if s.start > now then s.start = now end
    return s.start + p.window - now
  end,
  peek = function(s, p, cost)
    local left = A['fixed-window'].left(s, p)
    local used = left > 0 and s.used or 0
    local fits = used + cost <= p.limit
    return used, max(0, p.limit - used), used == 0 and 0 or left, fits and 0 or (cost > p.limit and p.window or left), fits
  end,
  take = function(s, p, cost)
    if s.used == 0 or A['fixed-window'].left(s, p) <= 0 then
      s.start = begin(p)
      s.used = 0
    end
    s.used = s.used + cost
  end,
  refund = function(s, p, cost)
    if A['fixed-window'].left(s, p) > 0 then s.used = max(0, s.used - cost) end
  end,
  validFor = function(s, p)
    return s.start + p.window - now
  end,
  save = function(key, s, p)
    put(key, pack('<dd', s.start, s.used), s.start + p.window)
  end,
}

-- Periods are the calendar's: the gateway knows them, Redis' clock says which of them it is.
-- One that has begun stays when the clock steps back over its border by ten minutes or less.
local function period(p, s)
  local b = p.periods
  local now = now
  if s.start > now and s.start - now <= 600000 then now = s.start end
  if now < b[2] then return b[1], b[2] end
  if now < b[3] then return b[2], b[3] end
  return b[3], b[4]
end

A['quota'] = {
  load = function(key, p)
    local start, used = pair(key)
    return { start = start or 0, used = used or 0 }
  end,
  peek = function(s, p, cost)
    local first, last = period(p, s)
    local used = s.start == first and s.used or 0
    local fits = used + cost <= p.limit
    return used, max(0, p.limit - used), used == 0 and 0 or last - now, fits and 0 or last - now, fits
  end,
  take = function(s, p, cost)
    local first = period(p, s)
    if s.start ~= first then
      s.start = first
      s.used = 0
    end
    s.used = s.used + cost
  end,
  refund = function(s, p, cost)
    local first = period(p, s)
    if s.start == first then s.used = max(0, s.used - cost) end
  end,
  validFor = function(s, p)
    local _, last = period(p, s)
    return last - now
  end,
  save = function(key, s, p)
    local _, last = period(p, s)
    put(key, pack('<dd', s.start, s.used), last + 14400000)
  end,
}

local function weighted(previous, elapsed, window)
  return floor((previous * (window - 1 - elapsed)) / window)
end

local function settles(previous, room, window)
  if previous <= room then return 0 end
  local at = max(0, floor(window - 1 - (window * (room + 1)) / previous))
  while weighted(previous, at, window) > room do at = at + 1 end
  return at
end

A['sliding-window'] = {
  load = function(key, p)
    local value = call('GET', key)
    if value then
      local start, current, previous = unpack('<ddd', value)
      return { start = start, current = current, previous = previous }
    end
    return { start = now, current = 0, previous = 0 }
  end,
  passed = function(s, window)
    if s.start > now then s.start = now end
    return floor((now - s.start) / window)
  end,
  peek = function(s, p, cost)
    local window, limit = p.window, p.limit
    local passed = A['sliding-window'].passed(s, window)
    local current = passed == 0 and s.current or 0
    local previous = passed == 0 and s.previous or (passed == 1 and s.current or 0)
    local start = passed > 1 and now or s.start + passed * window
    local elapsed = now - start
    local carried = weighted(previous, elapsed, window)
    local used = carried + current
    local fits = used + cost <= limit
    local resetIn = 0
    if used > 0 then
      if carried == 0 then
        resetIn = current == 0 and 0 or window - elapsed + settles(current, current - 1, window)
      else
        resetIn = min(settles(previous, carried - 1, window), window) - elapsed
      end
    end
    local retryIn = 0
    if not fits then
      local room = limit - cost
      if room < 0 then retryIn = window
      elseif current <= room then retryIn = settles(previous, room - current, window) - elapsed
      else retryIn = window - elapsed + settles(current, room, window) end
    end
    return used, max(0, limit - used), resetIn, retryIn, fits
  end,
  take = function(s, p, cost)
    local passed = A['sliding-window'].passed(s, p.window)
    if passed > 0 then
      s.previous = passed == 1 and s.current or 0
      s.current = 0
      s.start = passed == 1 and s.start + p.window or now
    end
    if s.current == 0 and s.previous == 0 then s.start = now end
    s.current = s.current + cost
  end,
  refund = function(s, p, cost)
    local passed = A['sliding-window'].passed(s, p.window)
    local fromCurrent = min(cost, s.current)
    if passed <= 1 then s.current = s.current - fromCurrent end
    if passed == 0 then s.previous = max(0, s.previous - (cost - fromCurrent)) end
  end,
  -- To the end of the window it was counted in.
  validFor = function(s, p)
    return s.start + p.window - now
  end,
  save = function(key, s, p)
    put(key, pack('<ddd', s.start, s.current, s.previous), s.start + 2 * p.window)
  end,
}

local function timeFor(tokens, p)
  if p.perMs == 0 then return p.window end
  return max(0, ceil((tokens - PRECISION) / p.perMs))
end

A['token-bucket'] = {
  load = function(key, p)
    local tokens, at = pair(key)
    return { tokens = tokens or p.full, at = at or now }
  end,
  refilled = function(s, p)
    if s.at > now then s.at = now end
    return min(p.limit, s.tokens + (now - s.at) * p.perMs)
  end,
  peek = function(s, p, cost)
    local tokens = A['token-bucket'].refilled(s, p)
    local whole = floor(tokens + PRECISION)
    local fits = cost <= whole
    return max(0, p.limit - whole), max(0, whole), whole >= p.limit and 0 or timeFor(max(0, whole) + 1 - tokens, p),
      fits and 0 or (cost > p.limit and p.window or timeFor(cost - tokens, p)), fits
  end,
  take = function(s, p, cost)
    s.tokens = A['token-bucket'].refilled(s, p) - cost
    if now > s.at then s.at = now end
  end,
  refund = function(s, p, cost)
    s.tokens = min(p.limit, s.tokens + cost)
  end,
  -- What is used later than it was taken came no sooner.
  validFor = function(s, p)
    return p.window
  end,
  save = function(key, s, p)
    put(key, pack('<dd', s.tokens, s.at), max(s.at + timeFor(p.full - s.tokens, p), now + p.window))
  end,
}

-- A list of "time cost", the oldest first, and beside it what they cost together.
A['sliding-log'] = {
  load = function(key, p)
    local used = tonumber(call('GET', key .. ':used') or '0')
    local head = call('LINDEX', key, 0)
    local before = used
    while head do
      local time, cost = numbers(head)
      if time > now - p.window then break end
      call('LPOP', key)
      used = used - cost
      head = call('LINDEX', key, 0)
    end
    if not head then used = 0 end
    -- Also where nothing is taken afterwards.
    if used ~= before then call('SET', key .. ':used', text(used), 'PX', p.window + 1000) end
    return { used = used, head = head, key = key }
  end,
  peek = function(s, p, cost)
    local fits = s.used + cost <= p.limit
    local resetIn, retryIn = 0, 0
    if s.head then
      local time = numbers(s.head)
      resetIn = time + p.window - now
    end
    if not fits then
      local room = p.limit - cost
      retryIn = p.window
      if room >= 0 then
        local used, at = s.used, 0
        local found = false
        while not found do
          local page = call('LRANGE', s.key, at, at + 99)
          if #page == 0 then break end
          for _, entry in ipairs(page) do
            local time, its = numbers(entry)
            used = used - its
            if used <= room then
              retryIn = time + p.window - now
              found = true
              break
            end
          end
          at = at + 100
        end
      end
    end
    return s.used, max(0, p.limit - s.used), resetIn, retryIn, fits
  end,
  take = function(s, p, cost)
    if cost == 0 then return end
    local last = call('LINDEX', s.key, -1)
    local time, its
    if last then time, its = numbers(last) end
    if time == now then
      call('LSET', s.key, -1, text(now) .. ' ' .. text(its + cost))
      if s.head == last then s.head = text(now) .. ' ' .. text(its + cost) end
    else
      local entry = text(now) .. ' ' .. text(cost)
      call('RPUSH', s.key, entry)
      s.head = s.head or entry
    end
    s.used = s.used + cost
  end,
  refund = function(s, p, cost)
    local left = min(cost, s.used)
    s.used = s.used - left
    local at = -1
    while left > 0 do
      local entry = call('LINDEX', s.key, at)
      if not entry then break end
      local time, its = numbers(entry)
      local part = min(left, its)
      call('LSET', s.key, at, text(time) .. ' ' .. text(its - part))
      left = left - part
      at = at - 1
    end
    s.head = call('LINDEX', s.key, 0)
  end,
  save = function(key, s, p)
    call('PEXPIRE', key, p.window + 1000)
    call('SET', key .. ':used', text(s.used), 'PX', p.window + 1000)
  end,
}

-- What each instance has in flight, and until when that holds without being said again: an instance that died holds nothing for long.
A['concurrency'] = {
  load = function(key, p)
    local all = call('HGETALL', key)
    local s = { inFlight = 0, own = 0 }
    for i = 1, #all, 2 do
      local count, till = numbers(all[i + 1])
      if till <= now then call('HDEL', key, all[i])
      else
        s.inFlight = s.inFlight + count
        if all[i] == instance then s.own = count end
      end
    end
    return s
  end,
  peek = function(s, p, cost)
    local fits = s.inFlight + cost <= p.limit
    return s.inFlight, max(0, p.limit - s.inFlight), 0, fits and 0 or 1000, fits
  end,
  take = function(s, p, cost)
    s.inFlight = s.inFlight + cost
    s.own = s.own + cost
  end,
  refund = function(s, p, cost)
    local part = min(cost, s.own)
    s.inFlight = s.inFlight - part
    s.own = s.own - part
  end,
  save = function(key, s, p)
    if s.own > 0 then
      call('HSET', key, instance, text(s.own) .. ' ' .. text(now + p.window))
      call('PEXPIRE', key, p.window)
    else
      call('HDEL', key, instance)
    end
  end,
}

local all = cjson.decode(ARGV[4])
local numbersOf, size = {}, 0
for number in string.gmatch(ARGV[5], '%S+') do
  size = size + 1
  numbersOf[size] = tonumber(number)
end
local TAKE, PEEK, CHARGE, REFUND, HOLD, EXTEND, LEASE = 1, 2, 3, 4, 5, 6, 7

-- States that this call has read, and those of them that it has changed: each is read and written once, however many requests of a caller come together.
local read, changed = {}, {}
local reply = { now }
local argument = 1
while argument <= size do
  local count, deed = numbersOf[argument], numbersOf[argument + 1]
  argument = argument + 2
  local isLease = deed == LEASE
  local width = isLease and 7 or 5
  local names, terms, charges, states, wants, first = {}, {}, {}, {}, {}, #reply + 1
  local allowed = not (isLate and (deed == TAKE or isLease))
  reply[first] = 1
  for i = 1, count do
    local name = KEYS[numbersOf[argument]]
    local p = all[numbersOf[argument + 1]]
    local cost = numbersOf[argument + 2]
    argument = argument + 3
    if isLease then
      wants[i] = numbersOf[argument]
      argument = argument + 1
    end
    local algorithm = A[p.algorithm]
    local state = read[name]
    if not state then
      state = algorithm.load(name, p)
      read[name] = state
    end
    local used, remaining, resetIn, retryIn, fits = algorithm.peek(state, p, cost)
    names[i], terms[i], charges[i], states[i] = name, p, cost, state
    local at = first + (i - 1) * width
    reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4], reply[at + 5] = used, remaining, resetIn, retryIn, fits and 1 or 0
    if isLease then reply[at + 6], reply[at + 7] = 0, 0 end
    if not fits and not p.shadow then allowed = false end
  end
  if deed == HOLD or deed == EXTEND then
    -- An instance says what it has in flight; while requests are on their way it may not know, and says only that it lives.
    local state = states[1]
    if deed == HOLD or state.own == 0 then state.own = charges[1] end
    changed[names[1]] = terms[1]
  elseif deed == CHARGE or deed == REFUND then
    -- They set right what was taken before, and ask nobody.
    for i = 1, count do
      local algorithm = A[terms[i].algorithm]
      algorithm[deed == CHARGE and 'take' or 'refund'](states[i], terms[i], charges[i])
      changed[names[i]] = terms[i]
    end
  elseif not allowed then
    reply[first] = 0
  elseif isLease then
    for i = 1, count do
      local at = first + (i - 1) * width
      local p = terms[i]
      local algorithm = A[p.algorithm]
      local amount = max(charges[i], min(wants[i], reply[at + 2]))
      if amount > 0 then
        algorithm.take(states[i], p, amount)
        changed[names[i]] = p
      end
      reply[at + 1], reply[at + 2], reply[at + 3] = algorithm.peek(states[i], p, 0)
      reply[at + 6], reply[at + 7] = amount, algorithm.validFor(states[i], p)
    end
  elseif deed == TAKE then
    for i = 1, count do
      local at = first + (i - 1) * width
      -- A limit in shadow counts what it would have let through.
      if reply[at + 5] == 1 then
        local p = terms[i]
        local algorithm = A[p.algorithm]
        algorithm.take(states[i], p, charges[i])
        changed[names[i]] = p
        reply[at + 1], reply[at + 2], reply[at + 3] = algorithm.peek(states[i], p, charges[i])
      end
    end
  end
end
for name, p in pairs(changed) do A[p.algorithm].save(name, read[name], p) end
return table.concat(reply, ' ')

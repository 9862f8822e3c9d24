-- The limits of a batch of requests, each request's all at once: those of one that is denied are left as they were.
-- The algorithms are those of src/limits/algorithms/*.ts, to the letter: one property test drives both. Each stands beside its own; script.ts puts them in here.
-- They may use the locals below: now, instance, text, numbers, put, pair, pack, unpack, call, floor, ceil, max and min. Terms have algorithm, window, limit, perMs, full
-- (the most that is ever in force), aligned and shadow, and periods where the calendar counts (see terms.ts).
-- KEYS: one for each limit and subject. ARGV: the time in milliseconds or "" for Redis' own, who asks, until when anybody waits for the answer ("" for ever), the terms of
-- all limits (JSON), and numbers: for each request how many limits it has and its operation, then for each limit its key, its terms (both from 1) and what it is charged.
-- Few arguments and one text as the reply, since each of them costs the gateway more than it costs here.
-- Reply, joined by spaces: the time, then for each request 1 or 0, then for each of its limits used, remaining, resetIn, retryIn and whether it fits.
-- With the operation "lease" each limit has a fourth number, how much to take if that is there, and its reply two more: how much was taken, and for how long it may be used.
-- With the operation "refund" the fourth number is the time at which that was taken.

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

-- Each makes its functions when a limit of this call has it, and not before: with all of them the call would take longer.
local algorithms, made = {
  --[[algorithms]]
}, {}
local all = cjson.decode(ARGV[4])
for i = 1, #all do
  local p = all[i]
  local name = p.algorithm
  local algorithm = made[name]
  if not algorithm then
    algorithm = algorithms[name]()
    made[name] = algorithm
  end
  p.algorithm = algorithm
end
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
  local count, operation = numbersOf[argument], numbersOf[argument + 1]
  argument = argument + 2
  local isLease = operation == LEASE
  local width = isLease and 7 or 5
  local names, terms, charges, states, wants, times, first = {}, {}, {}, {}, {}, {}, #reply + 1
  local allowed = not (isLate and (operation == TAKE or isLease))
  reply[first] = 1
  for i = 1, count do
    local name = KEYS[numbersOf[argument]]
    local p = all[numbersOf[argument + 1]]
    local cost = numbersOf[argument + 2]
    argument = argument + 3
    if isLease then
      wants[i] = numbersOf[argument]
      argument = argument + 1
    elseif operation == REFUND then
      times[i] = numbersOf[argument]
      argument = argument + 1
    end
    local algorithm = p.algorithm
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
  if operation == HOLD or operation == EXTEND then
    -- An instance says what it has in flight; while requests are on their way it may not know, and says only that it lives.
    terms[1].algorithm.hold(states[1], charges[1], operation == HOLD)
    changed[names[1]] = terms[1]
  elseif operation == CHARGE or operation == REFUND then
    -- They set right what was taken before, and ask nobody.
    for i = 1, count do
      local algorithm = terms[i].algorithm
      algorithm[operation == CHARGE and 'take' or 'refund'](states[i], terms[i], charges[i], times[i])
      changed[names[i]] = terms[i]
    end
  elseif not allowed then
    reply[first] = 0
  elseif isLease then
    for i = 1, count do
      local at = first + (i - 1) * width
      local p = terms[i]
      local algorithm = p.algorithm
      local amount = max(charges[i], min(wants[i], reply[at + 2]))
      if amount > 0 then
        algorithm.take(states[i], p, amount)
        changed[names[i]] = p
      end
      reply[at + 1], reply[at + 2], reply[at + 3] = algorithm.peek(states[i], p, 0)
      reply[at + 6], reply[at + 7] = amount, algorithm.validFor(states[i], p)
    end
  elseif operation == TAKE then
    for i = 1, count do
      local at = first + (i - 1) * width
      -- A limit in shadow counts what it would have let through.
      if reply[at + 5] == 1 then
        local p = terms[i]
        local algorithm = p.algorithm
        algorithm.take(states[i], p, charges[i])
        changed[names[i]] = p
        reply[at + 1], reply[at + 2], reply[at + 3] = algorithm.peek(states[i], p, charges[i])
      end
    end
  end
end
for name, p in pairs(changed) do p.algorithm.save(name, read[name], p) end
-- Joined they would be rounded to 14 digits, and money has 15.
for i = 2, #reply do
  if reply[i] >= 1e14 then reply[i] = text(reply[i]) end
end
return table.concat(reply, ' ')

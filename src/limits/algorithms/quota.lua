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

return {
  load = function(key, p)
    local start, used = pair(key)
    return { start = start or 0, used = used or 0 }
  end,
  peek = function(s, p, cost)
    local limit = p.limit
    local first, last = period(p, s)
    local used = s.start == first and s.used or 0
    local fits = used + cost <= limit
    return used, max(0, limit - used), used == 0 and 0 or last - now, fits and 0 or last - now, fits
  end,
  take = function(s, p, cost)
    local first = period(p, s)
    if s.start ~= first then
      s.start = first
      s.used = 0
    end
    s.used = s.used + cost
  end,
  refund = function(s, p, cost, at)
    local first = period(p, s)
    if s.start == first and at >= first then s.used = max(0, s.used - cost) end
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

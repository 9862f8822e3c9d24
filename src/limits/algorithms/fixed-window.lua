-- When a window begins that is begun now.
local function begin(p)
  return p.aligned and now - now % p.window or now
end

local function left(s, p)
  if s.start > now then s.start = now end
  return s.start + p.window - now
end

return {
  load = function(key, p)
    local start, used = pair(key)
    return { start = start or begin(p), used = used or 0 }
  end,
  peek = function(s, p, cost)
    local limit, span = p.limit, left(s, p)
    local used = span > 0 and s.used or 0
    local fits = used + cost <= limit
    return used, max(0, limit - used), used == 0 and 0 or span, fits and 0 or (cost > limit and p.window or span), fits
  end,
  take = function(s, p, cost)
    if s.used == 0 or left(s, p) <= 0 then
      s.start = begin(p)
      s.used = 0
    end
    s.used = s.used + cost
  end,
  refund = function(s, p, cost, at)
    if left(s, p) > 0 and at >= s.start then s.used = max(0, s.used - cost) end
  end,
  validFor = function(s, p)
    return s.start + p.window - now
  end,
  save = function(key, s, p)
    put(key, pack('<dd', s.start, s.used), s.start + p.window)
  end,
}

local PRECISION = 1e-6

local function timeFor(tokens, p)
  if p.perMs == 0 then return p.window end
  return max(0, ceil((tokens - PRECISION) / p.perMs))
end

local function refilled(s, p)
  if s.at > now then s.at = now end
  return min(p.limit, s.tokens + (now - s.at) * p.perMs)
end

return {
  load = function(key, p)
    local tokens, at = pair(key)
    return { tokens = tokens or p.full, at = at or now }
  end,
  peek = function(s, p, cost)
    local tokens = refilled(s, p)
    local whole = floor(tokens + PRECISION)
    local fits = cost <= whole
    return max(0, p.limit - whole), max(0, whole), whole >= p.limit and 0 or timeFor(max(0, whole) + 1 - tokens, p),
      fits and 0 or (cost > p.limit and p.window or timeFor(cost - tokens, p)), fits
  end,
  take = function(s, p, cost)
    s.tokens = refilled(s, p) - cost
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

local PRECISION = 1e-6

-- Cells that stand before the next one, as a fraction.
local function backlog(s, p)
  -- A time in the future comes from a clock that was set back.
  if s.at > now then
    s.next = s.next - (s.at - now)
    s.at = now
  end
  return max(0, s.next - now) * p.perMs
end

local function timeFor(cells, p)
  if p.perMs == 0 then return p.window end
  return max(0, ceil((cells - PRECISION) / p.perMs))
end

return {
  load = function(key, p)
    local next, at = pair(key)
    return { next = next or now, at = at or now }
  end,
  peek = function(s, p, cost)
    local limit = p.limit
    local cells = backlog(s, p)
    local used = max(0, ceil(cells - PRECISION))
    local fits = used + cost <= limit
    return used, max(0, limit - used), used == 0 and 0 or timeFor(cells - used + 1, p),
      fits and 0 or (cost > limit and p.window or timeFor(cells + cost - limit, p)), fits
  end,
  take = function(s, p, cost)
    if p.perMs > 0 then s.next = max(s.next, now) + cost / p.perMs end
    s.at = max(s.at, now)
  end,
  refund = function(s, p, cost)
    if p.perMs > 0 then s.next = s.next - cost / p.perMs end
  end,
  -- What is used later than it was taken came no sooner.
  validFor = function(s, p)
    return p.window
  end,
  save = function(key, s, p)
    put(key, pack('<dd', s.next, s.at), max(s.next, now + p.window))
  end,
}

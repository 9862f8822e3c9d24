local function weighted(previous, elapsed, window)
  return floor((previous * (window - 1 - elapsed)) / window)
end

local function settles(previous, room, window)
  if previous <= room then return 0 end
  local at = max(0, floor(window - 1 - (window * (room + 1)) / previous))
  while weighted(previous, at, window) > room do at = at + 1 end
  return at
end

local function passedOf(s, window)
  if s.start > now then s.start = now end
  return floor((now - s.start) / window)
end

return {
  load = function(key, p)
    local value = call('GET', key)
    if value then
      local start, current, previous = unpack('<ddd', value)
      return { start = start, current = current, previous = previous }
    end
    return { start = now, current = 0, previous = 0 }
  end,
  peek = function(s, p, cost)
    local window, limit = p.window, p.limit
    local passed = passedOf(s, window)
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
    local passed = passedOf(s, p.window)
    if passed > 0 then
      s.previous = passed == 1 and s.current or 0
      s.current = 0
      s.start = passed == 1 and s.start + p.window or now
    end
    if s.current == 0 and s.previous == 0 then s.start = now end
    s.current = s.current + cost
  end,
  refund = function(s, p, cost, at)
    local passed = passedOf(s, p.window)
    if at >= s.start then
      if passed <= 1 then s.current = max(0, s.current - cost) end
    elseif at >= s.start - p.window and passed == 0 then s.previous = max(0, s.previous - cost) end
  end,
  -- To the end of the window it was counted in.
  validFor = function(s, p)
    return s.start + p.window - now
  end,
  save = function(key, s, p)
    put(key, pack('<ddd', s.start, s.current, s.previous), s.start + 2 * p.window)
  end,
}

-- A list of "time cost", the oldest first, and beside it what they cost together.
return {
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
    while left > 0 do
      local entry = call('LINDEX', s.key, -1)
      if not entry then break end
      local time, its = numbers(entry)
      local part = min(left, its)
      if part < its then
        call('LSET', s.key, -1, text(time) .. ' ' .. text(its - part))
      else
        call('RPOP', s.key)
      end
      left = left - part
    end
    s.head = call('LINDEX', s.key, 0)
  end,
  save = function(key, s, p)
    call('PEXPIRE', key, p.window + 1000)
    call('SET', key .. ':used', text(s.used), 'PX', p.window + 1000)
  end,
}

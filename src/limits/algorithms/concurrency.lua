-- What each instance has in flight, and until when that holds without being said again: an instance that died holds nothing for long.
return {
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
  hold = function(s, count, isExact)
    if isExact or s.own == 0 then s.own = count end
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

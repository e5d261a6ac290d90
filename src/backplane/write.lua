-- Gives messages and deletions their place in the order of a zone, and stores them.
--
-- KEYS: zone, log, nodes, then for each channel of each operation its counts and its messages.
-- ARGV: 1 run id of this server, 2 node, 3 and 4 time and tag the node has seen, 5 ids it knows to be skipped, 6 most entries of the log,
-- 7 most bytes of them, 8 what the node says of itself ('' : nothing), 9 milliseconds of this clock up to which the node may take this server
-- for the master (0: always), 10 the format of entries, then operations:
--   P number ttl cap keep stored payload n channel...   (cap '' : none)
--   D number payload n channel...
-- An operation whose number is not above the last of its node was done before: whoever is not answered asks again.
-- Returns: id of the last entry, skipped, milliseconds, nodes, the last operation done, why the next one could not be ('' : it was), how many
-- of its channels were.
--
-- Where a command is refused halfway, what stands in the log before it is counted all the same: a number is given once.
local zone, log, nodes = KEYS[1], KEYS[2], KEYS[3]
local node, format = ARGV[2], tonumber(ARGV[10])
local z = redis.call('HMGET', zone, 'time', 'tag', 'entry', 'published', 'epoch', 'skip', 'until', 'run', 'id', 'beat',
  'size', 'n:' .. node, 'epochs', 'name', 'format')
local clock = redis.call('TIME')
local sec, ms = tonumber(clock[1]), math.floor(tonumber(clock[2]) / 1000)
-- What was asked before another server took over, and is heard only now, must not be done.
if tonumber(ARGV[9]) > 0 and sec * 1000 + ms > tonumber(ARGV[9]) then return redis.error_reply('TOOLATE this may not be the master any more') end
if (tonumber(z[15]) or 1) > format then return redis.error_reply('NEWER a newer version of pushstreamd writes to this zone') end
local time, tag, entry, published = tonumber(z[1]) or 0, tonumber(z[2]) or 0, tonumber(z[3]) or 0, tonumber(z[4]) or 0
local epoch, skip, unknown = tonumber(z[5]) or 0, tonumber(z[6]) or 0, tonumber(z[7]) or 0
local id, beat, size, done = z[9], tonumber(z[10]) or 0, tonumber(z[11]) or 256, tonumber(z[12]) or 0
local epochs, name = z[13] or '', z[14] or '-'
local last
-- Who may not write the marks writes nothing.
redis.call('HSET', zone, 'format', format)

local function append(value)
  -- A mean of the last entries: what is stored stays within the bytes whatever their size.
  local mean = size + (#value - size) / 32
  local most = math.max(8, math.min(tonumber(ARGV[6]), math.floor(tonumber(ARGV[7]) / mean)))
  last = redis.call('XADD', log, 'MAXLEN', '~', most, '*', 'e', string.format('%d %s ', entry + 1, name) .. value)
  entry, size = entry + 1, mean
end

-- What nodes have seen is never given again, whatever this server has forgotten.
local seen_time, seen_tag, seen_skip = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if seen_time > time or (seen_time == time and seen_tag > tag) then
  time, tag = seen_time, seen_tag
end
skip = math.max(skip, seen_skip)

if z[8] ~= ARGV[1] then
  -- Another server process than that which wrote last: the end of what that one wrote may be missing.
  if not id then
    id = string.format('%s.%d.%d', ARGV[1], sec, tonumber(clock[2]))
    skip = (seen_time > 0) and skip + 10000 or skip
  else
    skip = skip + 10000
  end
  if skip > 0 then unknown = sec + 3600 end
  epoch = epoch + 1
  local before = name
  name = string.format('%d.%s.%d', epoch, string.sub(ARGV[1], 1, 8), tonumber(clock[2]))
  epochs = (epochs == '' and '' or epochs .. ',') .. string.format('%s:%d', name, entry)
  while select(2, string.gsub(epochs, ',', '')) >= 32 do epochs = string.match(epochs, ',(.*)') end
  local far = (ms + 1) * 2000000
  if before ~= '-' or seen_time > 0 then
    -- The other one may go on for a moment, and hand out what this one does not know: what is given here is beyond all of that.
    time, tag = math.max(sec + 10, time + 1), far
  elseif sec > time then
    time, tag = sec, far
  elseif sec == time then
    tag = math.max(tag, far)
  end
  append(string.format('E %d %d %d %d %s %s\n', time, tag, epoch, skip, id, before))
end

-- Takes back what was stored of a message that does not come into the log.
local undo

local function delete(number, payload, channel, counts, messages)
  redis.call('DEL', counts, messages)
  append(string.format('D %d %d %s %d %d\n', time, tag, node, number, #channel) .. channel .. payload)
end

local function publish(number, ttl, cap, keep, stored, payload, channel, counts, messages)
  if sec > time then
    time, tag = sec, 1
  else
    tag = tag + 1
  end
  local count, ahead, of = 0, 0, epoch
  local known = redis.pcall('GET', counts)
  -- What somebody else has put there is none.
  if type(known) == 'string' then known = { string.match(known, '^(%d+) (%d+) (%d+)') } else known = {} end
  if known[1] then
    count, ahead, of = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
    if of ~= epoch then ahead = math.max(ahead, skip) end
  elseif sec < unknown then
    ahead = skip
  end
  count = count + 1
  local value = string.format('P %d %d %d %d %d %s %d %d\n', time, tag, count, count + ahead, math.min(time + ttl, 4294967295), node, number,
    #channel) .. channel .. payload
  if stored then
    local place = string.format('%d-%d', time, tag)
    local bound = (cap == '') and { 'MINID', string.format('%d-0', math.max(0, time - ttl)) } or { 'MAXLEN', cap }
    local kept = redis.pcall('XADD', messages, bound[1], bound[2], place, 'e', '0 - ' .. value)
    if type(kept) == 'table' and kept.err then
      -- Somebody else has written there, or the marks of the zone were lost without it.
      if not (string.find(kept.err, 'equal or smaller') or string.find(kept.err, 'WRONGTYPE')) then error(kept.err, 0) end
      redis.call('DEL', messages)
      redis.call('XADD', messages, place, 'e', '0 - ' .. value)
    end
    undo = function() redis.pcall('XDEL', messages, place) end
    redis.call('EXPIRE', messages, ttl + 5)
  end
  redis.call('SET', counts, string.format('%d %d %d %d %d', count, ahead, epoch, time, tag), 'EX', keep)
  append(value)
  published = published + 1
end

local function why(failure)
  return type(failure) == 'table' and failure.err or tostring(failure)
end

local at, key, failed, partly = 11, 4, '', 0
while ARGV[at] and failed == '' do
  local kind, number = ARGV[at], tonumber(ARGV[at + 1])
  local ttl, cap, keep, stored, payload, channels
  if kind == 'P' then
    ttl, cap, keep, stored = tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4], ARGV[at + 5] == '1'
    payload, channels = ARGV[at + 6], tonumber(ARGV[at + 7])
    at = at + 8
  else
    payload, channels = ARGV[at + 2], tonumber(ARGV[at + 3])
    at = at + 4
  end
  -- Else it is in the log already.
  if number > done then
    partly = 0
    for i = 0, channels - 1 do
      local channel, counts, messages = ARGV[at + i], KEYS[key + 2 * i], KEYS[key + 2 * i + 1]
      local ok, failure
      undo = nil
      if kind == 'P' then
        ok, failure = pcall(publish, number, ttl, cap, keep, stored, payload, channel, counts, messages)
      else
        ok, failure = pcall(delete, number, payload, channel, counts, messages)
      end
      if not ok then
        if undo then undo() end
        failed = why(failure)
        break
      end
      partly = partly + 1
    end
    if failed == '' then done = number end
  end
  at, key = at + channels, key + 2 * channels
end

local told = {}
local function say()
  local now = string.format('%d%03d', sec, ms)
  if sec > beat then
    if sec > time then time, tag = sec, 0 end
    append(string.format('M %d %d %d\n', time, tag, published))
    beat = sec
  end
  -- What somebody else has put there is none.
  if redis.call('TYPE', nodes).ok ~= 'hash' then redis.call('DEL', nodes) end
  redis.call('HSET', nodes, node, now .. ' ' .. ARGV[8])
  told = redis.call('HGETALL', nodes)
  for i = 1, #told, 2 do
    -- Nobody asks again for one that was away for so long.
    local alive = tonumber(string.match(told[i + 1], '^%d+'))
    if alive and alive < (sec - 600) * 1000 then
      redis.call('HDEL', nodes, told[i])
      redis.call('HDEL', zone, 'n:' .. told[i])
    end
  end
end
if ARGV[8] ~= '' then
  local ok, failure = pcall(say)
  -- The next one says it again.
  if not ok and failed == '' then failed, partly = why(failure), 0 end
end

if not last then
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  last = newest[1] and newest[1][1] or '0-0'
end
redis.call('HSET', zone, 'time', time, 'tag', tag, 'entry', entry, 'published', published, 'epoch', epoch, 'skip', skip,
  'until', unknown, 'run', ARGV[1], 'id', id, 'beat', beat, 'size', size, 'epochs', epochs, 'name', name, 'n:' .. node, done)
return { last, skip, string.format('%d%03d', sec, ms), told, done, failed, partly }

"""What Redis does in one step. Everything is within Redis 6.2."""

from hashlib import sha1

# KEYS: index, unacked, queues. ARGV: room, tag's prefix, first tag's number, a letter a queue
# ("a" if its messages will be acknowledged), tags that are acknowledged.
# Answers the numbers of the queues that are empty, and number, message, number, message, ...
TAKE = b"""
if #ARGV > 4 then
  redis.call('ZREM', KEYS[1], unpack(ARGV, 5))
  redis.call('HDEL', KEYS[2], unpack(ARGV, 5))
end
local room, number = tonumber(ARGV[1]), tonumber(ARGV[3])
local now = redis.call('TIME')
local at = now[1] .. '.' .. string.format('%06d', now[2])
local turn, empty, taken = {}, {}, {}
for i = 3, #KEYS do turn[#turn + 1] = i end
while room > 0 and #turn > 0 do
  local full = {}
  for _, i in ipairs(turn) do
    if room == 0 then break end
    local message = redis.call('RPOP', KEYS[i])
    if message then
      if string.sub(ARGV[4], i - 2, i - 2) == 'a' then
        local tag = ARGV[2] .. number
        redis.call('ZADD', KEYS[1], at, tag)
        redis.call('HSET', KEYS[2], tag, '[' .. message .. ',"",' .. cjson.encode(KEYS[i]) .. ']')
      end
      number, room = number + 1, room - 1
      taken[#taken + 1] = i - 3
      taken[#taken + 1] = message
      full[#full + 1] = i
    else
      empty[#empty + 1] = i - 3
    end
  end
  turn = full
end
return {empty, taken}
"""
TAKE_SHA = sha1(TAKE, usedforsecurity=False).hexdigest()

# KEYS: index, unacked, lists to push on. ARGV: tag, message, LPUSH or RPUSH.
# Only what is still unacknowledged goes back, so any number of processes may try.
PUT_BACK = """
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
for i = 3, #KEYS do redis.call(ARGV[3], KEYS[i], ARGV[2]) end
return 1
"""

# KEYS: index. ARGV: visibility timeout in seconds, how many at most.
OVERDUE = """
local before = redis.call('TIME')[1] - ARGV[1]
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, ARGV[2])
"""

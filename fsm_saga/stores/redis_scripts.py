"""What is decided inside Redis: each script is one step that nothing else comes between.

Whoever writes names its shard and the guard of its term, ``"<epoch> <member>"``. It is compared
with what ``leaders`` says now, in the script that writes. Leases only say when another may try.

Scripts make the keys of journals and members themselves, from the prefix, so all of a store has to
lie on one server: Redis Cluster, which spreads keys, is refused when a store is opened.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name by which Redis knows it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        )


CREATE = Script("""
-- KEYS: meta. ARGV: format, shards, id. Returns 1 if this made the store, 0 if it was there.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2], 'id', ARGV[3])
return 1
""")

_GUARDED = """
-- Why a writer of this guard may not write to the shard, or ''.
local function refusal(shard, guard)
  local leader = redis.call('HGET', KEYS[1], shard) or ''
  if leader == guard then return '' end
  return 'fenced ' .. leader
end
"""

APPEND = Script(
    _GUARDED
    + """
-- KEYS: leaders, commits, heads, all, sagas, lost.
-- ARGV: prefix, the number of this batch, how many shards, and for each: shard, guard, the least
--   commits that it must have; then for each append: which of these shards, saga, position,
--   'final' or '', entry, head, and of a first one '<mark>:<how many removals it knows of>'.
-- Returns the number of the batch, how many commits each shard has now, and what became of each
--   append: '' is written.
local prefix, count = ARGV[1], tonumber(ARGV[3])
local at, places, lost = 4, {}, redis.call('EXISTS', KEYS[6]) == 1
for i = 1, count do
  local shard, why = ARGV[at], refusal(ARGV[at], ARGV[at + 1])
  local commits = tonumber(redis.call('HGET', KEYS[2], shard) or '0')
  if why == '' and commits < tonumber(ARGV[at + 2]) then why = 'back ' .. commits end
  if why == '' and lost then why = 'lost' end
  places[i] = {shard = shard, open = prefix .. 'open:' .. shard, why = why, wrote = false}
  at = at + 3
end
local results = {}
while at <= #ARGV do
  local place, saga, position = places[tonumber(ARGV[at])], ARGV[at + 1], tonumber(ARGV[at + 2])
  local why = place.why
  if why == '' then
    local journal = prefix .. 'journal:' .. saga
    local found, last = 0, redis.call('LINDEX', journal, -1)
    if last then
      local from, records = string.match(last, '^(%d+):(%d+):')
      found = from and from + records or -1
    end
    if found ~= position then
      why = 'conflict ' .. (last and found or '')
    elseif not last then
      -- Nothing is left of a removed saga that could refuse a late copy of its first append.
      local mark, known = string.match(ARGV[at + 6], '^(%d+):(%d+)$')
      local count = redis.call('HGET', prefix .. 'removals:' .. place.shard, mark) or '0'
      if count ~= known then why = 'removed ' .. count end
    end
    if why == '' then
      redis.call('RPUSH', journal, ARGV[at + 4])
      redis.call('HSET', KEYS[3], saga, ARGV[at + 5])
      if not last then
        local number = redis.call('INCR', KEYS[5])
        redis.call('ZADD', KEYS[4], number, saga)
        if ARGV[at + 3] == '' then redis.call('ZADD', place.open, number, saga) end
      elseif ARGV[at + 3] ~= '' then
        redis.call('ZREM', place.open, saga)
      elseif not redis.call('ZSCORE', place.open, saga) then
        local number = redis.call('ZSCORE', KEYS[4], saga)
        redis.call('ZADD', place.open, number, saga)
      end
      place.wrote = true
    end
  end
  results[#results + 1] = why
  at = at + 7
end
local commits = {}
for i = 1, count do
  local place = places[i]
  if place.wrote then commits[i] = redis.call('HINCRBY', KEYS[2], place.shard, 1)
  else commits[i] = tonumber(redis.call('HGET', KEYS[2], place.shard) or '0') end
end
return {ARGV[2], commits, results}
"""
)

REMOVE = Script(
    _GUARDED
    + """
-- KEYS: leaders, heads, all, open, journal, of-saga, command, answer, pending, answered, removals.
-- ARGV: shard, guard, saga, the last entry that the journal must have, mark, then the number of
--   each command that waits and its answer, in turn.
-- Returns 'removed <how many under this mark>', 'fenced ...' or 'changed'.
local why = refusal(ARGV[1], ARGV[2])
if why ~= '' then return why end
if redis.call('LINDEX', KEYS[5], -1) ~= ARGV[4] then return 'changed' end
local answers, numbers = {}, redis.call('ZRANGE', KEYS[6], 0, -1)
for at = 6, #ARGV, 2 do answers[ARGV[at]] = ARGV[at + 1] end
for _, number in ipairs(numbers) do
  if redis.call('ZSCORE', KEYS[9], number) and not answers[number] then return 'changed' end
end
for _, number in ipairs(numbers) do
  if redis.call('ZREM', KEYS[9], number) == 1 then
    redis.call('HSET', KEYS[8], number, answers[number])
    redis.call('ZADD', KEYS[10], number, number)
  else
    redis.call('HDEL', KEYS[7], number)
    redis.call('HDEL', KEYS[8], number)
    redis.call('ZREM', KEYS[10], number)
  end
end
redis.call('DEL', KEYS[5], KEYS[6])
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[3])
return 'removed ' .. redis.call('HINCRBY', KEYS[11], ARGV[5], 1)
"""
)

WAITING = Script("""
-- KEYS: of-saga, pending. Returns the numbers of the saga's commands without an answer.
local found = {}
for _, number in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('ZSCORE', KEYS[2], number) then found[#found + 1] = number end
end
return found
""")

POST = Script("""
-- KEYS: command, pending, of-saga. ARGV: number, command.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
return 1
""")

PENDING = Script("""
-- KEYS: command, then pending of each shard. ARGV: how many of each at most.
-- Returns numbers and commands, in turn.
local found = {}
for i = 2, #KEYS do
  for _, number in ipairs(redis.call('ZRANGE', KEYS[i], 0, tonumber(ARGV[1]) - 1)) do
    found[#found + 1] = number
    found[#found + 1] = redis.call('HGET', KEYS[1], number) or ''
  end
end
return found
""")

ANSWER = Script(
    _GUARDED
    + """
-- KEYS: leaders, command, answer, answered.
-- ARGV: prefix, number, answer, the oldest number to keep, then for each shard: shard, guard.
-- Returns '', 'fenced ...' or 'none'.
local prefix, number = ARGV[1], ARGV[2]
local place = nil
for at = 5, #ARGV, 2 do
  local why = refusal(ARGV[at], ARGV[at + 1])
  if why ~= '' then return why end
  local pending = prefix .. 'pending:' .. ARGV[at]
  if redis.call('ZSCORE', pending, number) then place = pending end
end
if not place then
  if redis.call('HEXISTS', KEYS[3], number) == 1 then return '' end
  return 'none'
end
redis.call('HSET', KEYS[3], number, ARGV[3])
redis.call('ZREM', place, number)
redis.call('ZADD', KEYS[4], number, number)
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[4], 'LIMIT', 0, 100)
for _, each in ipairs(old) do
  local command = redis.call('HGET', KEYS[2], each)
  if command then
    local is_read, said = pcall(cjson.decode, string.sub(command, 10))
    if is_read and type(said) == 'table' and type(said.saga_id) == 'string' then
      redis.call('ZREM', prefix .. 'of-saga:' .. said.saga_id, each)
    end
  end
  redis.call('HDEL', KEYS[2], each)
  redis.call('HDEL', KEYS[3], each)
  redis.call('ZREM', KEYS[4], each)
end
return ''
"""
)

OF_SAGA = Script("""
-- KEYS: of-saga, command, answer. ARGV: how many of the newest.
-- Returns numbers, commands and answers, in turn, the newest first.
local found = {}
for _, number in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
  local command = redis.call('HGET', KEYS[2], number)
  if command then
    found[#found + 1] = number
    found[#found + 1] = command
    found[#found + 1] = redis.call('HGET', KEYS[3], number) or ''
  end
end
return found
""")

LOAD = Script("""
-- KEYS: journal, heads. ARGV: saga. A script, since a full server refuses to read in MULTI.
return {redis.call('LRANGE', KEYS[1], 0, -1), redis.call('HGET', KEYS[2], ARGV[1])}
""")

HEADS = Script("""
-- KEYS: heads, a sorted set of sagas. ARGV: below which number, how many.
-- Returns numbers, sagas and heads, in turn, the newest first.
local found = {}
local rows = redis.call(
  'ZREVRANGEBYSCORE', KEYS[2], ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #rows, 2 do
  found[#found + 1] = rows[at + 1]
  found[#found + 1] = rows[at]
  found[#found + 1] = redis.call('HGET', KEYS[1], rows[at]) or ''
end
return found
""")

TELL_LOSS = Script("""
-- KEYS: meta, lost. ARGV: the id of the store, why. Nothing is told of another store.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
return redis.call('SETNX', KEYS[2], ARGV[2])
""")

_END_TERMS = """
-- End every term of a member: its shards are free, and none of its writes can come any more.
local function end_terms(leaders, epoch, id)
  local found = redis.call('HGETALL', leaders)
  for at = 1, #found, 2 do
    if string.match(found[at + 1], '^%d+ (.*)$') == id then
      local next = string.format('%d', redis.call('INCR', epoch))
      redis.call('HSET', leaders, found[at], next .. ' ')
    end
  end
end
"""

JOIN = Script(
    _END_TERMS
    + """
-- KEYS: member, members, leaders, epoch, meta, lost.
-- ARGV: id, what it tells, milliseconds, the id of the store.
-- Returns 1, 0 if this is not the store that it was, or -1 if it has lost something.
if redis.call('HGET', KEYS[5], 'id') ~= ARGV[4] then return 0 end
if redis.call('EXISTS', KEYS[6]) == 1 then return -1 end
end_terms(KEYS[3], KEYS[4], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""
)

RENEW = Script("""
-- KEYS: member. ARGV: what it tells, milliseconds. Returns 1, or 0 if its lease has ended.
if redis.call('SET', KEYS[1], ARGV[1], 'XX', 'PX', ARGV[2]) then return 1 end
return 0
""")

CAMPAIGN = Script("""
-- KEYS: leaders, commits, epoch, members, lost. ARGV: prefix, id, shard, the commits it must have.
-- Returns {'won', epoch, how many commits the shard has}, {'held'}, {'gone'}, {'lost'} or
--   {'back', how many commits}.
local member = ARGV[1] .. 'member:'
local commits = tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or '0')
if commits < tonumber(ARGV[4]) then return {'back', commits} end
if redis.call('EXISTS', KEYS[5]) == 1 then return {'lost'} end
if redis.call('EXISTS', member .. ARGV[2]) == 0 then return {'gone'} end
local leader = redis.call('HGET', KEYS[1], ARGV[3])
local epoch, holder = string.match(leader or '', '^(%d+) (.*)$')
if holder ~= ARGV[2] then
  if holder and holder ~= '' then
    if redis.call('EXISTS', member .. holder) == 1 then return {'held'} end
    redis.call('SREM', KEYS[4], holder)
  end
  epoch = string.format('%d', redis.call('INCR', KEYS[3]))
  redis.call('HSET', KEYS[1], ARGV[3], epoch .. ' ' .. ARGV[2])
  redis.call('DEL', ARGV[1] .. 'removals:' .. ARGV[3])  -- what came before is of another epoch
end
return {'won', tonumber(epoch), commits}
""")

RESIGN = Script("""
-- KEYS: leaders, epoch. ARGV: shard, guard.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', redis.call('INCR', KEYS[2])) .. ' ')
return 1
""")

LEAVE = Script(
    _END_TERMS
    + """
-- KEYS: member, members, leaders, epoch. ARGV: id.
end_terms(KEYS[3], KEYS[4], ARGV[1])
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""
)

ROSTER = Script("""
-- KEYS: members, leaders, commits. ARGV: prefix.
-- Returns the ids of the living, what they tell, the leaders by shard, and the commits by shard.
local ids, told = {}, {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local member = redis.call('GET', ARGV[1] .. 'member:' .. id)
  if member then
    ids[#ids + 1] = id
    told[#told + 1] = member
  end
end
return {ids, told, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
""")

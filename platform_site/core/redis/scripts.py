"""What is done with event logs inside Redis, each step whole, and how events are packed.

The log of a run is a stream; each entry holds the events of one batch (`e`), or says that an attempt begins (`b`), that
the log is closed (`c`, with its outcome), or that it was discarded (`x`). Every entry names the last event before it
(`q`), and says whether the writer has given up any since (`g`), so a reader sees for itself what it has missed. Beside
the stream lies its state, a hash: the newest attempt, the process that writes it and the number of its last entry, how
many bytes the data have, the last event, whether it is closed. An older attempt writes nothing any more: what thaws
after its lease was taken away finds itself fenced off here as well. An attempt that did not count (a drain) has its
number again, so of two with one number the process that began last is the one that writes.

A feed is a stream of runs that begin (`r`) and end (`f`), and of posts (`p`), each with the id of that event; there `q`
is the feed's entry before. The id of an event is that of its entry, with its place in the entry as the last three
digits; the first entry of a run has an id after everything that its feed held before.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from platform_site.core.redis.account import ACCOUNT

PLACES = 1000


@dataclass(frozen=True)
class Script:
    """What Redis does in one step, and its name in our log."""

    text: str
    name: str

    @cached_property
    def sha(self) -> str:
        """How Redis names a script that it has been given."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_IDS = f"""
-- The id of an entry's event at a place.
local function event_id(entry, place)
    local ms, n = string.match(entry, '^(%d+)-(%d+)$')
    return ms .. '-' .. string.format('%d', tonumber(n) * {PLACES} + place)
end

-- Add to an entry's fields what came before it: the last one, if any, and whether the writer gave up what followed.
local function behind(fields, last, gap)
    if last and last ~= '' then
        fields[#fields + 1] = 'q'
        fields[#fields + 1] = last
    end
    if gap == '1' then
        fields[#fields + 1] = 'g'
        fields[#fields + 1] = 1
    end
    return fields
end
"""

# Feeds: an id after everything in the feed, which is Redis's own time unless a run of the feed was faster; and one more
# entry in a feed, within its bounds. A post may be large, the names of runs are not.
_FEEDS = """
local function feed_state(feed)
    return redis.call('HMGET', feed .. ':state', 'bytes', 'entry', 'held', 'last', 'until')
end

local function after_feed(last)
    local ms = now_ms()
    if last then
        local last_ms, last_n = string.match(last, '^(%d+)-(%d+)$')
        if tonumber(last_ms) >= ms then
            return last_ms .. '-' .. string.format('%d', tonumber(last_n) + 1)
        end
    end
    return string.format('%d', ms) .. '-0'
end

-- The feed lives for `life`, or until the logs of runs that have ended are over.
local function add_to_feed(feed, state, fields, last, life, most_bytes)
    local entry = redis.call('XADD', feed, '*', unpack(behind(fields, state[2])))
    local bytes, length = tonumber(state[1] or '0') + #fields[2], 0
    bytes, length = trim(feed, bytes, tonumber(most_bytes), 2000, 1)
    local over = math.max(now_ms() + tonumber(life), tonumber(state[5] or '0'))
    local kept, held = fields[1] == 'f' and over or state[5] or 0, weight(length, bytes)
    redis.call('HSET', feed .. ':state', 'bytes', bytes, 'entry', entry, 'last', last, 'until', kept, 'held', held)
    lives(feed, over - now_ms())
    holds(feed, state[3], held)
end
"""

# KEYS stream, state; ARGV attempt, number, events, most entries, life in ms, most bytes, writer, how many events,
# whether the run is resumable; then, as every script with a writer's place, whether events were given up and the last
# event that the writer knows. Answers the last event and the bytes held.
APPEND = Script(
    ACCOUNT
    + _IDS
    + """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'number', 'closed', 'bytes', 'writer', 'last', 'held')
local attempt, number = tonumber(ARGV[1]), tonumber(ARGV[2])
if state[3] then return {'closed'} end
if state[1] then
    if tonumber(state[1]) > attempt then return {'fenced'} end
    if tonumber(state[1]) == attempt and state[5] and state[5] ~= ARGV[7] then return {'fenced'} end
    if tonumber(state[1]) == attempt and number <= tonumber(state[2] or '0') then return {'again', state[6]} end
end
-- Without a state Redis has lost the log: the writer knows what it held.
local fields = behind({'e', ARGV[3]}, state[6] or ARGV[11], ARGV[10])
local entry = redis.call('XADD', KEYS[1], '*', unpack(fields))
local bytes, length = tonumber(state[4] or '0') + #ARGV[3], 0
bytes, length = trim(KEYS[1], bytes, tonumber(ARGV[6]), tonumber(ARGV[4]), 1)
local last, held = event_id(entry, tonumber(ARGV[8]) - 1), weight(length, bytes)
redis.call('HSET', KEYS[2], 'attempt', attempt, 'number', number, 'bytes', bytes, 'last', last, 'held', held)
if not state[1] then
    if ARGV[9] == '1' then redis.call('HSET', KEYS[2], 'resumable', 1) end
    lives(KEYS[1], ARGV[5], true)
end
return {'ok', last, holds(KEYS[1], state[7], held)}
""",
    "append",
)

# KEYS stream, state, feed (or none); ARGV attempt, resumable, life in ms, run, writer, most bytes, the writer's place
BEGIN_ATTEMPT = Script(
    ACCOUNT
    + _IDS
    + _FEEDS
    + """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'closed', 'writer', 'last', 'bytes', 'held')
local attempt = tonumber(ARGV[1])
if state[2] then return {'closed'} end
if state[1] and tonumber(state[1]) > attempt then return {'fenced'} end
-- Without a state Redis has lost the log, or there was none.
local id, before = '*', state[4] or (ARGV[8] ~= '' and ARGV[8])
if not state[1] and KEYS[3] then
    local feed = feed_state(KEYS[3])
    id = after_feed(feed[4])
    add_to_feed(KEYS[3], feed, {'r', ARGV[4], 's', ARGV[2], 'id', event_id(id, 0)}, id, ARGV[3], ARGV[6])
end
local gap = ARGV[7]
if not before and attempt > 1 then gap = '1' end
id = redis.call('XADD', KEYS[1], id, unpack(behind({'b', attempt}, before, gap)))
local last, bytes = before or event_id(id, 0), tonumber(state[5] or '0') + #ARGV[1]
local held = weight(redis.call('XLEN', KEYS[1]), bytes)
redis.call('HSET', KEYS[2], 'attempt', attempt, 'writer', ARGV[5], 'last', last, 'bytes', bytes, 'held', held)
-- A writer counts on over all that it begins, and may say the same twice.
if state[3] ~= ARGV[5] then redis.call('HSET', KEYS[2], 'number', 0) end
if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'resumable', 1) end
lives(KEYS[1], ARGV[3], true)
return {'ok', last, holds(KEYS[1], state[6], held)}
""",
    "begin",
)

# KEYS stream, state, feed (or none); ARGV attempt, outcome, life in ms, life in ms of a resumable run, writer, run,
# most bytes, whether the run is resumable, the writer's place
CLOSE = Script(
    ACCOUNT
    + _IDS
    + _FEEDS
    + """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'closed', 'resumable', 'writer', 'last', 'bytes', 'held')
if state[2] then return {'closed'} end
if state[1] then
    if tonumber(state[1]) > tonumber(ARGV[1]) then return {'fenced'} end
    if tonumber(state[1]) == tonumber(ARGV[1]) and state[4] and state[4] ~= ARGV[5] then return {'fenced'} end
end
local resumable = state[3] or ARGV[8] == '1'
local life = ARGV[3]
if resumable then life = ARGV[4] end
local id = redis.call('XADD', KEYS[1], '*', unpack(behind({'c', ARGV[2]}, state[5] or ARGV[10], ARGV[9])))
local bytes = tonumber(state[6] or '0') + #ARGV[2]
local ending, held = event_id(id, 0), weight(redis.call('XLEN', KEYS[1]), bytes)
redis.call('HSET', KEYS[2], 'attempt', ARGV[1], 'closed', 1, 'bytes', bytes, 'end', ending, 'held', held)
if resumable then redis.call('HSET', KEYS[2], 'resumable', 1) end
lives(KEYS[1], life)
redis.call('ZADD', resumable and RESUMABLE or FINISHED, now_ms(), KEYS[1])
if KEYS[3] then
    add_to_feed(KEYS[3], feed_state(KEYS[3]), {'f', ARGV[6], 'id', ending}, id, life, ARGV[7])
end
return {'ok', state[5], holds(KEYS[1], state[7], held)}
""",
    "close",
)

# KEYS stream, state; ARGV life in ms
DISCARD = Script(
    ACCOUNT
    + """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('XADD', KEYS[1], '*', 'x', '')
local before, held = redis.call('HGET', KEYS[2], 'held'), weight(1, 0)
redis.call('HSET', KEYS[2], 'closed', 1, 'bytes', 0, 'held', held)
redis.call('HDEL', KEYS[2], 'gone')
lives(KEYS[1], ARGV[1])
redis.call('ZREM', RESUMABLE, KEYS[1])
redis.call('ZREM', ENDS, KEYS[1])
redis.call('ZADD', FINISHED, now_ms(), KEYS[1])
return {'ok', false, holds(KEYS[1], before, held)}
""",
    "discard",
)

# KEYS feed; ARGV event, life in ms, most bytes
POST = Script(
    ACCOUNT
    + _IDS
    + _FEEDS
    + """
local feed = feed_state(KEYS[1])
local id = after_feed(feed[4])
local life = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2]))
add_to_feed(KEYS[1], feed, {'p', ARGV[1], 'id', event_id(id, 0)}, id, life, ARGV[3])
return {'ok'}
""",
    "post",
)

# KEYS feed; ARGV life in ms
END_FEED = Script(
    ACCOUNT
    + """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('XADD', KEYS[1], '*', 'end', '')
local before, held = redis.call('HGET', KEYS[1] .. ':state', 'held'), weight(1, 0)
redis.call('HSET', KEYS[1] .. ':state', 'bytes', 0, 'held', held)
lives(KEYS[1], ARGV[1])
return {'ok', false, holds(KEYS[1], before, held)}
""",
    "end_feed",
)


def pack(name: str, data: bytes) -> bytes:
    """Return an event as two lines. Neither JSON nor a framed name holds a line break."""
    return b"%b\n%b" % (name.replace("\n", " ").encode(), data)


def unpack(packed: bytes) -> list[tuple[str, bytes]]:
    """Return the events of an entry, as (name, data)."""
    lines = packed.split(b"\n")
    return [(lines[place].decode(), lines[place + 1]) for place in range(0, len(lines), 2)]


def event_id(entry: str, place: int) -> str:
    """Return the id of an entry's event at `place`."""
    ms, _, n = entry.partition("-")
    return f"{ms}-{int(n) * PLACES + place}"


def entry_of(ms: int, n: int) -> tuple[str, int]:
    """Return the entry that an event id points into, and the place there."""
    return f"{ms}-{n // PLACES}", n % PLACES

"""What is done with event logs inside Redis, each step whole, and how events are packed.

The log of a run is a stream; each entry holds the events of one batch (`e`), or says that an attempt begins (`b`), that
the log is closed (`c`, with its outcome), or that it was discarded (`x`). Beside it lies its state, a hash: the newest
attempt, the process that writes it and the number of its last entry, how many bytes the events have, whether it is
closed. An older attempt writes nothing any more: what thaws after its lease was taken away finds itself fenced off here
as well. An attempt that did not count (a drain) has its number again, so of two with one number the process that began
last is the one that writes.

A feed is a stream of runs that begin (`r`) and of posts (`p`). The id of an event is that of its entry, with its place
in the entry as the last three digits; the first entry of a run has an id after everything that its feed held before.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

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


# An id after everything in the feed: Redis's own time, unless a run of the feed was faster.
_AFTER_FEED = """
local function after_feed(feed)
    local now = redis.call('TIME')
    local ms = math.floor(now[1] * 1000 + now[2] / 1000)
    local last = redis.call('GET', feed .. ':last')
    if last then
        local last_ms, last_n = string.match(last, '^(%d+)-(%d+)$')
        if tonumber(last_ms) >= ms then
            return last_ms .. '-' .. string.format('%d', tonumber(last_n) + 1)
        end
    end
    return string.format('%d', ms) .. '-0'
end
"""

# KEYS stream, state; ARGV attempt, number, events, most entries, life in ms, most bytes, writer
APPEND = Script(
    """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'number', 'closed', 'bytes', 'writer')
local attempt, number = tonumber(ARGV[1]), tonumber(ARGV[2])
if state[3] then return 'closed' end
if state[1] then
    if tonumber(state[1]) > attempt then return 'fenced' end
    if tonumber(state[1]) == attempt and state[5] and state[5] ~= ARGV[7] then return 'fenced' end
    if tonumber(state[1]) == attempt and number <= tonumber(state[2] or '0') then return 'again' end
end
local bytes = tonumber(state[4] or '0') + #ARGV[3]
local length = redis.call('XLEN', KEYS[1])
while length > 0 and (length >= tonumber(ARGV[4]) or bytes > tonumber(ARGV[6])) do
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', KEYS[1], oldest[1])
    length = length - 1
    if oldest[2][1] == 'e' then bytes = bytes - #oldest[2][2] end
end
redis.call('HSET', KEYS[2], 'attempt', attempt, 'number', number, 'bytes', bytes)
redis.call('XADD', KEYS[1], '*', 'e', ARGV[3])
if not state[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 'ok'
""",
    "append",
)

# KEYS stream, state, feed (or none); ARGV attempt, resumable, life in ms, run, writer
BEGIN_ATTEMPT = Script(
    _AFTER_FEED
    + """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'closed', 'writer')
local attempt = tonumber(ARGV[1])
if state[2] then return 'closed' end
if state[1] and tonumber(state[1]) > attempt then return 'fenced' end
redis.call('HSET', KEYS[2], 'attempt', attempt, 'writer', ARGV[5])
-- A writer counts on over all that it begins, and may say the same twice.
if state[3] ~= ARGV[5] then redis.call('HSET', KEYS[2], 'number', 0) end
if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'resumable', 1) end
if state[1] then
    redis.call('XADD', KEYS[1], '*', 'b', attempt)
elseif KEYS[3] then
    local id = after_feed(KEYS[3])
    redis.call('XADD', KEYS[1], id, 'b', attempt)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', 1000, '*', 'r', ARGV[4])
    redis.call('SET', KEYS[3] .. ':last', id, 'PX', ARGV[3])
    redis.call('PEXPIRE', KEYS[3], ARGV[3])
else
    redis.call('XADD', KEYS[1], '*', 'b', attempt)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'
""",
    "begin",
)

# KEYS stream, state, feed (or none); ARGV attempt, outcome, life in ms, life in ms of a resumable run, writer
CLOSE = Script(
    """
local state = redis.call('HMGET', KEYS[2], 'attempt', 'closed', 'resumable', 'writer')
if state[2] then return 'closed' end
if state[1] then
    if tonumber(state[1]) > tonumber(ARGV[1]) then return 'fenced' end
    if tonumber(state[1]) == tonumber(ARGV[1]) and state[4] and state[4] ~= ARGV[5] then return 'fenced' end
end
redis.call('HSET', KEYS[2], 'attempt', ARGV[1], 'closed', 1)
local id = redis.call('XADD', KEYS[1], '*', 'c', ARGV[2])
local life = ARGV[3]
if state[3] then life = ARGV[4] end
redis.call('PEXPIRE', KEYS[1], life)
redis.call('PEXPIRE', KEYS[2], life)
if KEYS[3] then redis.call('SET', KEYS[3] .. ':last', id, 'PX', ARGV[4]) end
return 'ok'
""",
    "close",
)

# KEYS stream, state; ARGV life in ms
DISCARD = Script(
    """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('XADD', KEYS[1], '*', 'x', '')
redis.call('HSET', KEYS[2], 'closed', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 'ok'
""",
    "discard",
)

# KEYS feed; ARGV event, life in ms
POST = Script(
    _AFTER_FEED
    + """
local id = after_feed(KEYS[1])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'p', ARGV[1], 'id', id)
redis.call('SET', KEYS[1] .. ':last', id, 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'
""",
    "post",
)

# KEYS feed; ARGV life in ms
END_FEED = Script(
    """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('XADD', KEYS[1], '*', 'end', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
""",
    "end_feed",
)


def pack(name: str, data: bytes) -> bytes:
    """An event as two lines. Neither JSON nor a framed name holds a line break."""
    return b"%b\n%b" % (name.replace("\n", " ").encode(), data)


def unpack(packed: bytes) -> list[tuple[str, bytes]]:
    """The events of an entry, as (name, data)."""
    lines = packed.split(b"\n")
    return [(lines[place].decode(), lines[place + 1]) for place in range(0, len(lines), 2)]


def event_id(entry: str, place: int) -> str:
    """The id of an entry's event at `place`."""
    ms, _, n = entry.partition("-")
    return f"{ms}-{int(n) * PLACES + place}"


def entry_of(ms: int, n: int) -> tuple[str, int]:
    """The entry that an event id points into, and the place there."""
    return f"{ms}-{n // PLACES}", n % PLACES

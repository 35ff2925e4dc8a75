"""The account of all event streams in Redis: what they hold, when their time is over, in which order they are cut.

Only scripts write it, each together with what it does to a stream, so the two never differ by half a step:

* `held`: the bytes that all streams hold;
* `sizes`: a sorted set of the streams by the bytes that each holds;
* `expiry`: the same streams by the time in ms at which Redis forgets them;
* `finished` and `resumable`: the streams of runs that have ended, by the time of their end;
* `ends`: those of them that were cut to their outcome, by the time at which that may go as well.

A stream is named by its key. Its state is the hash `<key>:state`.
"""

from platform_site.core.redis.link import PREFIX

HELD = f"{PREFIX}events:held"
SIZES = f"{PREFIX}events:sizes"
EXPIRY = f"{PREFIX}events:expiry"
FINISHED = f"{PREFIX}events:finished"
RESUMABLE = f"{PREFIX}events:resumable"
ENDS = f"{PREFIX}events:ends"
RECOUNTED = f"{PREFIX}events:recounted"

# Measured with MEMORY USAGE (tests/core/test_redis_budget.py). Redis makes the first block of a stream this large, and
# puts so much around the data of an entry. Beside the stream are its state and its places in the account.
_FIRST_BLOCK = 4360
_BLOCK = 4096
_AROUND_BLOCKS = 300
_AROUND_ENTRY = 60
_BESIDE = 550

# The functions that scripts share.
ACCOUNT = f"""
local HELD, SIZES, EXPIRY = '{HELD}', '{SIZES}', '{EXPIRY}'
local FINISHED, RESUMABLE, ENDS = '{FINISHED}', '{RESUMABLE}', '{ENDS}'
local BESIDE, LEAST = {_BESIDE}, {_BESIDE + _FIRST_BLOCK}

local now
local function now_ms()
    if not now then
        local time = redis.call('TIME')
        now = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    return now
end

-- What a stream of so many entries with so many bytes holds, in whole blocks: few small entries change it.
local function weight(length, bytes)
    local more = {_AROUND_BLOCKS} + bytes + {_AROUND_ENTRY} * length - {_FIRST_BLOCK}
    return LEAST + {_BLOCK} * math.max(0, math.ceil(more / {_BLOCK}))
end

-- Account for a stream that held as much before, by its state, where the caller notes what it holds now; the bytes that
-- all of them hold, if that has changed.
local function holds(key, before, size)
    if tonumber(before or '0') == size then return false end
    redis.call('ZADD', SIZES, size, key)
    return redis.call('INCRBY', HELD, size - tonumber(before or '0'))
end

-- Let a stream and its state go after so many ms, and the account know. It need not know of one that is written to:
-- that stream will be closed, or is struck when the account is added up.
local function lives(key, life, is_written_to)
    redis.call('PEXPIRE', key, life)
    redis.call('PEXPIRE', key .. ':state', life)
    if not is_written_to then redis.call('ZADD', EXPIRY, now_ms() + tonumber(life), key) end
end

-- Strike a stream that is gone from the account.
local function forget(key)
    redis.call('ZREM', EXPIRY, key)
    redis.call('ZREM', FINISHED, key)
    redis.call('ZREM', RESUMABLE, key)
    redis.call('ZREM', ENDS, key)
    local size = tonumber(redis.call('ZSCORE', SIZES, key) or '0')
    redis.call('ZREM', SIZES, key)
    redis.call('HDEL', key .. ':state', 'held')
    redis.call('INCRBY', HELD, -size)
end

-- The bytes of an entry's data.
local function data_of(entry)
    return #entry[2][2]
end

-- Remove the oldest entries until there are at most so many, with so many bytes, but leave the fewest; the bytes and
-- entries left.
local function trim(key, bytes, most_bytes, most_entries, fewest)
    local length = redis.call('XLEN', key)
    while length > fewest and (length > most_entries or bytes > most_bytes) do
        local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
        redis.call('XDEL', key, oldest[1])
        length = length - 1
        bytes = bytes - data_of(oldest)
    end
    return bytes, length
end
"""

"""The budget of all event streams in Redis: what is cut first when they hold more, and the account set right."""

import asyncio
import logging
from typing import Any, Protocol

from redis.exceptions import NoPermissionError

from platform_site.core.background.rounds import Task
from platform_site.core.background.tasks import background
from platform_site.core.redis import account as redis_account
from platform_site.core.redis.account import ACCOUNT
from platform_site.core.redis.link import RedisLink
from platform_site.core.redis.scripts import Script

logger = logging.getLogger("switchyard.redis")

TASK = "event-streams"
# How often the account is looked at where no stream grows, in seconds.
INTERVAL = 60.0
# What is cut goes down to so much of the budget, so that the next event does not begin it anew.
_TARGET = 0.9
# How soon it is looked at again after all that may be cut was cut, and it was not enough.
_STUCK_INTERVAL = 5.0
# How long the outcome of a run is left at the least: a reader that has not got it by then is told from the database
# (`LostEnds`).
OUTCOME_MS = 60_000
# Redis does nothing else while a script runs, so one cuts so many streams or entries at most.
_STEPS = 200
# More than any streams hold.
_ALL = 2**53
# The account is added up anew this often, in seconds: keys that were deleted by hand or evicted are struck from it.
_RECOUNT_SECONDS = 3600

# A Redis that is full lets a script write only after a command that may remove something. This one finds nothing.
_EVEN_IF_FULL = """
redis.call('ZREMRANGEBYSCORE', EXPIRY, '(0', '0')
"""

# ARGV bytes that may be held, least age of an outcome in ms, most steps. Answers the bytes held, and whether there is
# more to do.
CUT = Script(
    ACCOUNT
    + _EVEN_IF_FULL
    + """
local most, grace, steps = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function held()
    return tonumber(redis.call('GET', HELD) or '0')
end

local function now_holds(key, bytes, size)
    local before = redis.call('HGET', key .. ':state', 'held')
    redis.call('HSET', key .. ':state', 'bytes', bytes, 'held', size)
    holds(key, before, size)
end

-- The bytes of the data of all entries, as its state has them.
local function data_in(key)
    return tonumber(redis.call('HGET', key .. ':state', 'bytes') or '0')
end

-- Remove the stream of a run that has ended. Its state stays until its time is over, for those who still ask.
local function bury(key)
    redis.call('UNLINK', key)
    redis.call('ZREM', FINISHED, key)
    redis.call('ZREM', RESUMABLE, key)
    redis.call('ZREM', ENDS, key)
    if redis.call('EXISTS', key .. ':state') == 0 then return forget(key) end
    redis.call('HSET', key .. ':state', 'gone', 1)
    now_holds(key, 0, BESIDE)
end

-- Cut the stream of a run that has ended to its outcome, or remove it if that is old enough.
local function cut_finished(key, class, ended)
    redis.call('ZREM', class, key)
    if redis.call('EXISTS', key) == 0 then return forget(key) end
    if ended + grace <= now_ms() then return bury(key) end
    local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
    -- What fits into the first block takes no more room with all its events.
    if weight(redis.call('XLEN', key), data_in(key)) > LEAST then
        redis.call('XTRIM', key, 'MAXLEN', 1)
        now_holds(key, data_of(newest), weight(1, data_of(newest)))
    end
    redis.call('ZADD', ENDS, ended + grace, key)
end

-- Remove the oldest entries of an open stream: half of it, or less if less is held too much. Whether anything went.
local function cut_open(key)
    if redis.call('EXISTS', key) == 0 then forget(key) return true end
    local before, length = data_in(key), redis.call('XLEN', key)
    if length < 2 then return false end
    local target = math.max(before / 2, before - (held() - most))
    local bytes, left = trim(key, before, target, length, math.max(length - steps, 1))
    steps = steps - (length - left)
    now_holds(key, bytes, weight(left, bytes))
    return left < length
end

-- The same for the largest that can be cut. Whether there is one.
local function cut_largest()
    for place = 0, 1e6, 20 do
        local largest = redis.call('ZREVRANGE', SIZES, place, place + 19, 'WITHSCORES')
        for i = 1, #largest, 2 do
            if tonumber(largest[i + 1]) <= LEAST then return false end
            if not redis.call('ZSCORE', ENDS, largest[i]) and cut_open(largest[i]) then return true end
        end
        if #largest == 0 then return false end
    end
    return false
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now_ms(), 'LIMIT', 0, math.max(steps, 0))) do
    forget(key)
    steps = steps - 1
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', now_ms(), 'LIMIT', 0, math.max(steps, 0))) do
    bury(key)
    steps = steps - 1
end
for _, class in ipairs({FINISHED, RESUMABLE}) do
    while steps > 0 and held() > most do
        local oldest = redis.call('ZRANGE', class, 0, 0, 'WITHSCORES')
        if #oldest == 0 then break end
        cut_finished(oldest[1], class, tonumber(oldest[2]))
        steps = steps - 1
    end
end
while steps > 0 and held() > most and cut_largest() do
    steps = steps - 1
end
return {held(), steps <= 0 and 1 or 0}
""",
    "cut",
)

# ARGV seconds in which nobody does it again. Answers by how much the account was wrong.
RECOUNT = Script(
    ACCOUNT
    + _EVEN_IF_FULL
    + f"""
if not redis.call('SET', '{redis_account.RECOUNTED}', 1, 'NX', 'EX', ARGV[1]) then return 0 end
local sizes, total = redis.call('ZRANGE', SIZES, 0, -1, 'WITHSCORES'), 0
for place = 1, #sizes, 2 do
    if redis.call('EXISTS', sizes[place], sizes[place] .. ':state') == 0 then
        forget(sizes[place])
    else
        total = total + tonumber(sizes[place + 1])
    end
end
local wrong = tonumber(redis.call('GET', HELD) or '0') - total
redis.call('SET', HELD, total)
return wrong
""",
    "recount",
)


class StreamBudget:
    """Keeps what all event streams hold in Redis within a budget. Any number of processes may do so at once."""

    def __init__(self, link: RedisLink, commands: Any, budget: int) -> None:
        """Keep to `budget` bytes. `commands` is a client on the link's loop."""
        self.budget = budget
        self._link = link
        self._commands = commands
        self._wanted = budget
        # Whether the next round was asked for, or would be in vain.
        self._is_asked = False
        # Whether the log already says that the budget cannot be kept.
        self._is_stuck = False

    def seen(self, held: int) -> None:
        """Learn what the streams hold from the answer to a write."""
        if held > self.budget and not self._is_asked:
            self._is_asked = True
            background().wake_here(TASK)

    async def held(self) -> int:
        """Return the bytes that all streams hold whose time is not over."""
        return await asyncio.wrap_future(self._link.submit(self._cut(_ALL)))

    async def round(self) -> float | None:
        """Cut streams if they hold more than the budget, and now and then set the account right."""
        return await asyncio.wrap_future(self._link.submit(self._round()))

    async def _round(self) -> float | None:
        self._is_asked = False
        self.budget = await self._affordable()
        if wrong := await self._commands.eval(RECOUNT.text, 0, _RECOUNT_SECONDS):
            logger.warning("the account of event streams in Redis was wrong by %d bytes", wrong)
        held = await self._cut(_ALL)
        left = held if held <= self.budget else await self._cut(int(self.budget * _TARGET))
        if left < held:
            logger.info("event streams in Redis held %d bytes and were cut to %d", held, left)
        was_stuck, self._is_stuck = self._is_stuck, left > self.budget
        if not self._is_stuck:
            return None
        if not was_stuck:
            # Once, not in each round until a result's time is over.
            logger.warning(
                "event streams in Redis hold %d bytes, more than their budget of %d: recent results and newest events "
                "stay. Raise EVENT_REDIS_BYTES",
                left,
                self.budget,
            )
        self._is_asked = True
        return _STUCK_INTERVAL

    async def _affordable(self) -> int:
        """Return the budget, or half of what Redis may hold if that is less."""
        try:
            most = int((await self._commands.info("memory")).get("maxmemory", 0))
        except NoPermissionError as error:
            logger.debug("Redis does not tell how much memory it may use: %s", error)
            most = 0
        affordable = min(self._wanted, most // 2) if most else self._wanted
        if affordable < min(self.budget, self._wanted):
            logger.warning("Redis may hold %d bytes, so event streams may hold %d", most, affordable)
        return affordable

    async def _cut(self, most: int) -> int:
        """Cut streams until they hold `most` bytes; return what they hold then."""
        while True:
            held, is_more = await self._commands.eval(CUT.text, 0, most, OUTCOME_MS, _STEPS)
            if not is_more:
                return int(held)


class _Budgeted(Protocol):
    budget: StreamBudget


def budget_task(log: _Budgeted) -> Task:
    """Return the background task that keeps the streams of a log within their budget."""

    async def cut() -> float | None:
        return await log.budget.round()

    return Task(TASK, cut, INTERVAL)

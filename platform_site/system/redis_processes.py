"""Where the processes of scale mode exchange the figures of their memory: one hash in Redis."""

import asyncio
from typing import Any

from platform_site.core.events.configured import event_log
from platform_site.core.events.redis import RedisEventLog
from platform_site.core.redis.link import PREFIX, RedisLink
from platform_site.system.process_figures import INTERVAL, ProcessFigures, RedisFigures

PROCESSES_KEY = f"{PREFIX}processes"
# Figures that are older are those of a process that is gone or stands still.
FORGET_SECONDS = int(INTERVAL * 6)

# Writes one field, forgets old ones and returns the rest. Times are Redis' own: clocks of machines differ.
# KEYS hash; ARGV name, figures, seconds after which figures are forgotten
_EXCHANGE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local told, fresh = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #told, 2 do
    local at, figures = string.match(told[i + 1], '^(%d+) (.*)$')
    if now - tonumber(at) > tonumber(ARGV[3]) then
        redis.call('HDEL', KEYS[1], told[i])
    else
        fresh[#fresh + 1] = figures
    end
end
return fresh
"""


class RedisProcesses:
    """The hash of figures. Its methods may be called on any loop; they raise what the client raises."""

    def __init__(self, link: RedisLink, forget_seconds: int = FORGET_SECONDS) -> None:
        self._link = link
        self._client = link.client()
        self._forget_seconds = forget_seconds

    async def exchange(self, own: ProcessFigures) -> tuple[list[ProcessFigures], RedisFigures]:
        """Tell the figures of this process; return those of all that are there, and what Redis tells of itself."""
        told, memory = await asyncio.wrap_future(self._link.submit(self.exchange_here(own)))
        log = event_log()
        assert isinstance(log, RedisEventLog)
        redis = RedisFigures(
            await log.streams_bytes(), log.streams_budget, int(memory["used_memory"]), int(memory.get("maxmemory", 0))
        )
        return told, redis

    async def forget(self, own: ProcessFigures) -> None:
        """Forget the figures of this process."""
        await asyncio.wrap_future(self._link.submit(self._forget(own.name)))

    async def exchange_here(self, own: ProcessFigures) -> tuple[list[ProcessFigures], dict[str, Any]]:
        """Tell the figures of this process; return those of all, and Redis' `INFO memory`. On the link's loop."""
        arguments: list[Any] = [own.name, own.as_json(), self._forget_seconds]
        told = await self._client.eval(_EXCHANGE, 1, PROCESSES_KEY, *arguments)
        return [ProcessFigures.from_json(figures) for figures in told], await self._client.info("memory")

    async def _forget(self, name: str) -> None:
        await self._client.hdel(PROCESSES_KEY, name)

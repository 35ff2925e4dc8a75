"""The event log that this process writes and reads: in memory, or in Redis where several processes share it."""

from functools import cache
from typing import Any

from django.conf import settings

from platform_site.core.events.interface import EventLog


@cache
def event_log() -> EventLog:
    """Return the event log that this process writes and reads: in Redis where several processes share it."""
    bounds: dict[str, Any] = {
        "max_bytes": settings.EVENT_LOG_MAX_BYTES,
        "ttl": settings.EVENT_TTL_SECONDS,
        "resumable_ttl": settings.EVENT_TTL_RESUMABLE_SECONDS,
        # No run works for longer than its time limit without an event or an end.
        "abandoned_after": settings.RUN_TIME_LIMIT_SECONDS * settings.MAX_ATTEMPTS
        + settings.EVENT_TTL_RESUMABLE_SECONDS,
    }
    if settings.REDIS_URL:
        from platform_site.core.events.redis import RedisEventLog
        from platform_site.core.redis.link import redis_link
        from platform_site.core.redis.signals import redis_writer

        budgets = {"streams_bytes": settings.EVENT_REDIS_BYTES, "memory_bytes": settings.EVENT_MEMORY_BYTES}
        return RedisEventLog(redis_link(), redis_writer(), **bounds, **budgets)
    from platform_site.core.events.memory import MemoryEventLog

    return MemoryEventLog(**bounds, budget=settings.EVENT_MEMORY_BYTES)

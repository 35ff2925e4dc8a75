"""What the health strip says of memory: that of the processes, of live events, of Redis, and of slow collections."""

from platform_site.console.checks import Check
from platform_site.console.wording import number, size, took
from platform_site.system.process_figures import WINDOW_SECONDS, ProcessFigures, RedisFigures
from platform_site.system.processes import Processes

# The part of its limit that a process may have before it is worth a word, and before it is in danger.
HIGH_MEMORY, FULL_MEMORY = 0.85, 0.95
# The part of a budget from which it counts as used up.
FULL_BUDGET = 0.9
# Slow collections of a process in the window before they are worth a word: a few come with every peak.
SLOW_COLLECTIONS = 3

_LATELY = f"in the last {WINDOW_SECONDS / 60:.0f} min"


def memory_checks(known: Processes) -> list[Check]:
    """Return a check of the memory of processes, in scale mode one of Redis, and one of whatever else is wrong."""
    told = known.all()
    checks = [_memory(told, known.hears)]
    if not known.hears:
        checks.append(Check("Redis", "bad", "Redis does not answer"))
    elif known.redis is not None:
        checks.append(_redis(known.redis))
    return [*checks, *_events(told), *_collections(told)]


def _memory(told: list[ProcessFigures], hears: bool) -> Check:
    """The process that is nearest to its limit."""
    worst = max(told, key=_part_used)
    used = f"{size(worst.resident_bytes)} of {size(worst.memory_limit)}"
    if (part := _part_used(worst)) > HIGH_MEMORY:
        return Check("Memory", "bad" if part > FULL_MEMORY else "late", f"{_named(worst, told)} uses {used}")
    if not hears:
        return Check("Memory", "ok", f"This process uses {used}, others are not known")
    if len(told) == 1:
        return Check("Memory", "ok", f"{used} in use")
    return Check("Memory", "ok", f"{number(len(told))} processes, the largest uses {used}")


def _part_used(process: ProcessFigures) -> float:
    return process.resident_bytes / process.memory_limit if process.memory_limit else 0.0


def _named(process: ProcessFigures, told: list[ProcessFigures]) -> str:
    """Name a process as the subject of a sentence: by its role, and among several also by host and process id."""
    return f"The {process.role}" if len(told) == 1 else f"The {process.role} {process.name}"


def _redis(redis: RedisFigures) -> Check:
    if redis.limit_bytes and redis.used_bytes > FULL_BUDGET * redis.limit_bytes:
        text = f"Redis uses {size(redis.used_bytes)} of its maxmemory, {size(redis.limit_bytes)}"
        return Check("Redis", "bad", text)
    used = f"{size(redis.streams_bytes)} of {size(redis.streams_budget)}"
    if redis.streams_bytes > FULL_BUDGET * redis.streams_budget:
        return Check("Redis", "late", f"Live events fill {used}, older ones are dropped. Raise EVENT_REDIS_BYTES")
    return Check("Redis", "ok", f"Live events fill {used}")


def _events(told: list[ProcessFigures]) -> list[Check]:
    """The process that drops live events, or else the number of readers that were cut off."""
    full = [
        process
        for process in told
        if process.recent_events_cut and process.event_bytes > FULL_BUDGET * process.event_budget
    ]
    if full:
        worst = max(full, key=lambda process: process.recent_events_cut)
        used = f"{size(worst.event_bytes)} of {size(worst.event_budget)}"
        text = f"{_named(worst, told)} drops older live events: {used} in use. Raise EVENT_MEMORY_BYTES"
        return [Check("Live events", "late", text)]
    if readers := sum(process.recent_readers_cut_off for process in told):
        were = "readers were" if readers > 1 else "reader was"
        text = f"{number(readers)} {were} too slow or too late and missed events {_LATELY}"
        return [Check("Live events", "late", text)]
    return []


def _collections(told: list[ProcessFigures]) -> list[Check]:
    worst = max(told, key=lambda process: process.recent_slow_collections)
    if worst.recent_slow_collections < SLOW_COLLECTIONS:
        return []
    times, seconds = number(worst.recent_slow_collections), took(worst.recent_collection_seconds)
    text = f"{_named(worst, told)} stopped {times} times to collect garbage {_LATELY}, {seconds} in all"
    return [Check("Collections", "late", text)]

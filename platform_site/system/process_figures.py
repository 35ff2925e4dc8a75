"""What a process tells of its memory, and what is known of the memory of Redis."""

from dataclasses import asdict, dataclass, fields
from typing import Self

import orjson

# How often a process tells its figures, and in which time happened what it calls recent.
INTERVAL = 5.0
WINDOW_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What one process tells of its memory. What has a `recent_` name happened in the last `WINDOW_SECONDS`."""

    # Host and process id.
    name: str
    # `server`, `web` or `worker`.
    role: str = ""
    # 0 where the system does not tell.
    resident_bytes: int = 0
    memory_limit: int = 0
    event_bytes: int = 0
    event_budget: int = 0
    state_cache_bytes: int = 0
    state_cache_budget: int = 0
    recent_events_cut: int = 0
    recent_readers_cut_off: int = 0
    recent_slow_collections: int = 0
    recent_collection_seconds: float = 0.0

    def as_json(self) -> bytes:
        """Return the figures as a JSON object."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the figures that a process has told. One of another version may know more of them, or fewer."""
        told = orjson.loads(text)
        return cls(**{field.name: told[field.name] for field in fields(cls) if field.name in told})


@dataclass(frozen=True, slots=True)
class RedisFigures:
    """What is known of the memory of Redis."""

    streams_bytes: int
    streams_budget: int
    used_bytes: int
    # Its maxmemory, 0 without one.
    limit_bytes: int

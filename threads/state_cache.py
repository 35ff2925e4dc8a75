"""The cache of encoded states of this process."""

from dataclasses import dataclass
from functools import cache


@dataclass
class StateCache:
    """What the cache tells of itself."""

    held_bytes: int = 0
    budget_bytes: int = 0
    hits: int = 0
    misses: int = 0


@cache
def state_cache() -> StateCache:
    """Return the cache of this process."""
    return StateCache()

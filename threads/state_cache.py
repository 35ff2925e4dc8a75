"""Encoded states of checkpoints, kept in this process for the next time that they are read."""

import sys
import threading
from collections import OrderedDict
from functools import cache
from hashlib import blake2b

from django.conf import settings

from platform_site.core.wire import keep

# What an entry takes beside its key and its value: a node of the list and its place in the table.
_ENTRY_BYTES = 160
# One state may take this part of the budget.
_LARGEST_SHARE = 8


class StateCache:
    """Keeps what was used last, within a number of bytes. All methods may be called from any thread.

    Keys and values are bytes: the garbage collector has nothing to look at.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._states: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: bytes) -> bytes | None:
        """Return what is kept under the key, or None."""
        with self._lock:
            state = self._states.get(key)
            if state is None:
                self.misses += 1
            else:
                self.hits += 1
                self._states.move_to_end(key)
            return state

    def put(self, key: bytes, state: bytes) -> None:
        """Keep the state unless it is too large; what was used longest ago makes room."""
        if _size(key, state) > self.budget_bytes // _LARGEST_SHARE:
            return
        state = keep(state)
        with self._lock:
            if (known := self._states.pop(key, None)) is not None:
                self.held_bytes -= _size(key, known)
            self._states[key] = state
            self.held_bytes += _size(key, state)
            while self.held_bytes > self.budget_bytes:
                self.held_bytes -= _size(*self._states.popitem(last=False))

    def clear(self) -> None:
        """Forget everything that is kept."""
        with self._lock:
            self._states.clear()
            self.held_bytes = 0


def _size(key: bytes, state: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(state) + _ENTRY_BYTES


def key_of(*parts: object) -> bytes:
    """Return the key of these parts: numbers, texts, bytes and tuples of such."""
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=20).digest()


@cache
def state_cache() -> StateCache:
    """Return the cache of this process."""
    return StateCache(settings.STATE_CACHE_BYTES)

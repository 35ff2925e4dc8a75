"""Slots that runs lend to others while they wait for other runs.

A run whose node waits for another run of this server, by the SDK, works on nothing meanwhile. It lends its slot, and
the thread of a synchronous node, until it has its answer. Else runs that wait could take every slot, and those they
wait for would never begin. So a process may hold more than `CONCURRENCY` runs, but no more than that are at work.

How many may wait at a time is bounded, too: a graph that starts itself without end meets a refusal there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

from platform_site.core.errors import TooManyRequests
from runs.engine.node_threads import Work

# The smallest bound on runs that wait for others, also if CONCURRENCY is smaller.
LEAST = 100
TOO_MANY = (
    "{} runs of this process wait for other runs, as many as may (CONCURRENCY, and at least {}). Does a graph start "
    "itself without end?"
)


class Lending:
    """The slots of one process that are lent. May be used from any thread."""

    def __init__(self, has_room_again: Callable[[], None] = lambda: None) -> None:
        """`has_room_again` is called, on any thread, when a slot has been lent."""
        self._has_room_again = has_room_again
        self._lock = threading.Lock()
        self.lent = 0

    def lend(self) -> None:
        """Count one more lent slot. Raises `TooManyRequests` if as many slots are lent as may be."""
        most = max(settings.CONCURRENCY, LEAST)
        with self._lock:
            if self.lent >= most:
                raise TooManyRequests(TOO_MANY.format(self.lent, LEAST))
            self.lent += 1
        self._has_room_again()

    def take_back(self) -> None:
        """Count the slot as taken again, although others may have taken every slot meanwhile."""
        with self._lock:
            self.lent -= 1


class LentSlot:
    """Whether one attempt lends its slot. May be used from any thread."""

    def __init__(self, lending: Lending, work: Work) -> None:
        self._lending = lending
        self._work = work
        self._lock = threading.Lock()
        # How many requests of the attempt wait for other runs.
        self._waits = 0
        # Whether the attempt has no slot any more.
        self._is_over = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lend the slot for the block; blocks of one attempt may overlap. Raises `TooManyRequests` as `lend` does."""
        with self._lock:
            if self._waits == 0 and not self._is_over:
                self._lending.lend()
            self._waits += 1
        try:
            with self._work.lent_thread():
                yield
        finally:
            with self._lock:
                self._waits -= 1
                if self._waits == 0 and not self._is_over:
                    self._lending.take_back()

    def end(self) -> None:
        """Take the slot back, if it is lent, because the attempt is over or has given the slot up for good."""
        with self._lock:
            if self._waits and not self._is_over:
                self._lending.take_back()
            self._is_over = True

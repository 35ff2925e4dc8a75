"""Steady load: visits begin at an even pace, whether those before them have ended or not."""

import asyncio
import re
import time
from collections import Counter
from time import perf_counter

from .visits import MIX, Visit, World, stateless_run

# More at once means that the server does not keep up.
MOST_AT_ONCE = 300
VISIT_SECONDS = 120.0
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")


class Load:
    """Visits of all kinds in fixed shares. What fails is counted by kind and text."""

    def __init__(self, world: World, rate: float) -> None:
        self.world = world
        self.rate = rate
        self.visits = 0
        self.errors: Counter[str] = Counter()
        # When each was seen first, in minutes from the beginning.
        self.first: dict[str, float] = {}
        self._began = time.monotonic()
        # Seconds of the runs that were waited for, since somebody last took them.
        self.waits: list[float] = []
        self._active: set[asyncio.Task[None]] = set()
        # The first visits are one of each kind.
        self._deck: list[Visit] = list(MIX)

    async def run(self, end: float) -> None:
        """Begin visits until the monotonic time `end`, then wait for those under way. Cancelled, cancel them, too."""
        self._began, number = time.monotonic(), 0
        try:
            while (now := time.monotonic()) < end:
                due = self._began + number / self.rate
                if now < due:
                    await asyncio.sleep(min(due, end) - now)
                    continue
                number += 1
                self._begin()
            await asyncio.gather(*self._active)
        finally:
            for task in self._active:
                task.cancel()

    def _begin(self) -> None:
        if len(self._active) >= MOST_AT_ONCE:
            self._failed(
                f"{MOST_AT_ONCE} visits at once: the server does not keep up with {self.rate:g} a second (--rate)"
            )
            return
        task = asyncio.create_task(self.visit(self._next()))
        self._active.add(task)
        task.add_done_callback(self._active.discard)

    def _failed(self, text: str) -> None:
        # Without ids, so that what fails in the same way is counted together.
        text = _ID.sub("<id>", text)
        self.errors[text] += 1
        self.first.setdefault(text, (time.monotonic() - self._began) / 60)

    def told(self) -> list[str]:
        """Return what failed, the most frequent first."""
        return [
            f"{text} ({count} times, first in minute {self.first[text]:.1f})"
            for text, count in self.errors.most_common()
        ]

    def _next(self) -> Visit:
        if not self._deck:
            # Kinds with half a share come once in two hundred visits.
            self._deck = [visit for visit, share in MIX.items() for _ in range(round(share * 2))]
            self.world.dice.shuffle(self._deck)
        return self._deck.pop()

    async def visit(self, visit: Visit) -> None:
        """Make one visit and count it."""
        began = perf_counter()
        try:
            await asyncio.wait_for(visit(self.world), VISIT_SECONDS)
        except Exception as exc:
            # Whatever a visit stumbles over is what a soak looks for.
            self._failed(f"{visit.__name__}: {_told(exc)}")
        self.visits += 1
        if visit is stateless_run:
            self.waits.append(perf_counter() - began)

    def take_waits(self) -> list[float]:
        taken, self.waits = self.waits, []
        return taken


def _told(exc: Exception) -> str:
    """Return class and text of an exception; some timeouts have no text."""
    return ": ".join(filter(None, (type(exc).__name__, str(exc))))

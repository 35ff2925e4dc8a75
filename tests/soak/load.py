"""Steady load: visits begin at an even pace, whether those before them have ended or not."""

import asyncio
import re
import time
from collections import Counter
from time import perf_counter

from tests.benchmarks.client import BadAnswer

from .visits import MIX, Visit, World, stateless_run

# More at once means that the server does not keep up.
MOST_AT_ONCE = 300
VISIT_SECONDS = 120.0
FAILURES = (BadAnswer, OSError, TimeoutError, ValueError, KeyError, TypeError)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}")


class Load:
    """Visits of all kinds in fixed shares. What fails is counted by kind and text."""

    def __init__(self, world: World, rate: float) -> None:
        self.world = world
        self.rate = rate
        self.visits = 0
        self.errors: Counter[str] = Counter()
        # Seconds of the runs that were waited for, since somebody last took them.
        self.waits: list[float] = []
        self._active: set[asyncio.Task[None]] = set()
        # The first visits are one of each kind.
        self._deck: list[Visit] = list(MIX)

    async def run(self, end: float) -> None:
        """Begin visits until the monotonic time `end`, then wait for those under way."""
        began, number = time.monotonic(), 0
        while (now := time.monotonic()) < end:
            due = began + number / self.rate
            if now < due:
                await asyncio.sleep(min(due, end) - now)
                continue
            number += 1
            if len(self._active) >= MOST_AT_ONCE:
                self.errors[f"{MOST_AT_ONCE} visits at once: the server does not keep up with this rate"] += 1
                continue
            task = asyncio.create_task(self._visit(self._next()))
            self._active.add(task)
            task.add_done_callback(self._active.discard)
        if self._active:
            await asyncio.wait(list(self._active))

    def _next(self) -> Visit:
        if not self._deck:
            # Kinds with half a share come once in two hundred visits.
            self._deck = [visit for visit, share in MIX.items() for _ in range(round(share * 2))]
            self.world.dice.shuffle(self._deck)
        return self._deck.pop()

    async def _visit(self, visit: Visit) -> None:
        began = perf_counter()
        try:
            await asyncio.wait_for(visit(self.world), VISIT_SECONDS)
        except FAILURES as exc:
            # Without ids, so that what fails in the same way is counted together.
            text = _ID.sub("<id>", str(exc))
            self.errors[f"{visit.__name__}: {type(exc).__name__}: {text}"] += 1
        self.visits += 1
        if visit is stateless_run:
            self.waits.append(perf_counter() - began)

    def take_waits(self) -> list[float]:
        taken, self.waits = self.waits, []
        return taken

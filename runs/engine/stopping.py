"""Having an attempt let go: its task is asked until it has, not once, since a node may swallow its cancellation."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

# How often a task is asked that has not let go yet, in seconds.
ASK_AGAIN_SECONDS = 1.0


class Stop(Enum):
    """Why an attempt was stopped from outside."""

    CANCEL = auto()
    DRAIN = auto()
    LOST = auto()


class Stopper:
    """Stops one attempt: because somebody asked for it, or because its time is over. For the run loop only."""

    def __init__(self, deadline: float, grace: float, on_stuck: Callable[[], None]) -> None:
        """`on_stuck` is called once if something of the attempt is left `grace` seconds after it was to end."""
        self.timed_out = False
        self._deadline = deadline
        self._grace = grace
        self._on_stuck = on_stuck
        self._is_asked = False
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._until_stuck: asyncio.TimerHandle | None = None

    @contextmanager
    def watching(self, task: "asyncio.Task[None]") -> Iterator[None]:
        """While this task works for the attempt: it is cancelled when the attempt is to end, or was to end before."""
        limit = asyncio.get_running_loop().call_at(self._deadline, self._time_is_over)
        self._task = task
        if self._is_asked:
            self._ask()
        try:
            yield
        finally:
            limit.cancel()
            self._task = None
            self._ask_no_more()

    def ask(self) -> None:
        """Have the attempt end. Nothing happens to a task before the caller's next await."""
        self._is_asked = True
        self.is_to_end()
        self._ask()

    def is_to_end(self) -> None:
        """From now on the attempt should be over: what is left of it after the grace is stuck."""
        if self._until_stuck is None:
            self._until_stuck = asyncio.get_running_loop().call_later(self._grace, self._on_stuck)

    def over(self) -> None:
        """Nothing of the attempt is left."""
        if self._until_stuck is not None:
            self._until_stuck.cancel()

    def _time_is_over(self) -> None:
        self.timed_out = True
        self.ask()

    def _ask(self) -> None:
        self._ask_no_more()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._again = asyncio.get_running_loop().call_later(ASK_AGAIN_SECONDS, self._ask)

    def _ask_no_more(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

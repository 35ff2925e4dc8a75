"""How a reader of events waits, on its own loop, for what happens on any thread."""

import asyncio
from contextlib import suppress


class Waiter:
    """One wait of one reader; woken at most once."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def wake(self) -> None:
        """From any thread."""
        # A closed loop refuses: its reader is gone.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.resolve)

    async def wait(self, deadline: float | None) -> None:
        """Return when woken, or at the deadline."""
        timer = None if deadline is None else self.loop.call_at(deadline, self.resolve)
        try:
            await self.future
        finally:
            if timer is not None:
                timer.cancel()

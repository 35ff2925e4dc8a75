"""The caller for whom the server runs code of the project: whoever asked for a run, or reads a graph.

The SDK inside a graph acts for that caller and nobody else (`core/loopback/transport.py`). The caller travels in a
context variable, so no header, body or configuration of a request can choose it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from platform_site.access.principal import Principal


class Actor:
    """A caller for whom code of the project runs, and the run that does so if it is one."""

    __slots__ = ("is_over", "principal", "run_id", "thread_id", "waiting")

    def __init__(
        self,
        principal: "Principal",
        *,
        thread_id: UUID | None = None,
        run_id: UUID | None = None,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`waiting` is entered, on any thread, while the run waits for another run."""
        self.principal = principal
        self.thread_id = thread_id
        self.run_id = run_id
        self.waiting = waiting
        # Tasks and threads that outlive the run or the request act for nobody any more.
        self.is_over = False


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


def current_actor() -> Actor | None:
    """Return for whom the current code runs, or None outside of runs and reads, and after their end."""
    actor = _actor.get()
    return None if actor is None or actor.is_over else actor


@contextmanager
def acting_for(actor: Actor) -> Iterator[None]:
    """Run the block, and every task and thread that inherits its context, for this caller until the block ends."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        actor.is_over = True
        _actor.reset(token)

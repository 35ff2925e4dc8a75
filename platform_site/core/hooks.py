"""Typed hooks by which a lower layer announces what happened to layers above it.

A receiver runs in the thread and, unless said otherwise, in the transaction of the sender; an exception in it is the
sender's. Hooks that carry rows of an app stand in that app (`runs/hooks.py`).
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec
from uuid import UUID

if TYPE_CHECKING:
    from platform_site.core.database.access import Portion

P = ParamSpec("P")


class Hook(Generic[P]):
    """A list of receivers, called in the order in which they were connected."""

    def __init__(self) -> None:
        self._receivers: list[Callable[P, None]] = []

    def connect(self, receiver: Callable[P, None]) -> Callable[P, None]:
        """Add a receiver; usable as a decorator."""
        self._receivers.append(receiver)
        return receiver

    def send(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for receiver in self._receivers:
            receiver(*args, **kwargs)


class AsyncHook(Generic[P]):
    """A list of receivers that are awaited one after the other on the sender's event loop, outside a transaction."""

    def __init__(self) -> None:
        self._receivers: list[Callable[P, Awaitable[None]]] = []

    def connect(self, receiver: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
        """Add a receiver; usable as a decorator."""
        self._receivers.append(receiver)
        return receiver

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for receiver in self._receivers:
            await receiver(*args, **kwargs)


# Sent inside the transaction that hides deleted threads: stop what works on them. What it costs must not grow with what
# the threads hold.
threads_deleting: Hook[[list[UUID]]] = Hook()
# Sent inside later transactions, again and again until none of its portion is used: delete what belongs to the threads.
threads_purging: "Hook[[list[UUID], Portion]]" = Hook()
# Sent in transactions before an assistant is deleted, again and again until none of its portion is used, with workspace
# and `assistant_id`: delete what may be too much for the transaction of the delete.
assistant_purging: "Hook[[int, UUID, Portion]]" = Hook()
# Sent inside the transaction that deletes an assistant, in one workspace: that and its `assistant_id`.
assistant_deleting: Hook[[int, UUID]] = Hook()
# Sent after a thread's state was changed by a person or a program, not by a run.
state_updated: Hook[[UUID]] = Hook()
# Sent in the transaction after which a thread's pending runs may begin that a change of its state kept waiting.
thread_freed: Hook[[UUID]] = Hook()
# Sent when a change of a thread's state was asked for and made: its workspace, its id, and what gives the new state as
# the wire shows it. Unlike the hooks above it is sent on the caller's event loop, outside a transaction.
state_posted: Hook[[int, UUID, Callable[[], dict[str, Any]]]] = Hook()

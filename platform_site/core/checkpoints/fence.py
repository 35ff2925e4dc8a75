"""Under which lease checkpoints and items are written. A writer whose fence does not hold any more writes nothing."""

from typing import Any, LiteralString, Protocol
from uuid import UUID

# SQL for PostgreSQL, and its parameters.
Statement = tuple[LiteralString, tuple[Any, ...]]


class Fence(Protocol):
    """The lease under which an attempt, or a change by hand, writes.

    `holds` is asked in the thread that writes. Once it is false, it stays false.
    """

    @property
    def run_id(self) -> UUID | None:
        """Whose writes they are; None where no run writes."""

    @property
    def lease_owner(self) -> str: ...

    def holds(self) -> bool: ...

    def held(self) -> Statement:
        """Return a query that finds one row while the lease is held, and keeps the lease so until the commit.

        Whoever owns the table of the lease writes the query.
        """


class RunFence(Fence, Protocol):
    """The lease of an attempt at a run."""

    def renamed(self) -> Statement:
        """Return a statement that gives the lease another name, and returns that as `value`.

        The statement waits for the transactions that have made the query of `held`. Nobody else is given the lease.
        """


class LeaseLost(Exception):
    """A checkpoint write was refused: the attempt no longer owns its run, or the run is gone."""

    def __init__(self, fence: Fence) -> None:
        owned = f"run {fence.run_id}" if fence.run_id is not None else "the thread that it changes"
        super().__init__(f"{fence.lease_owner} no longer owns {owned}")

"""Under which lease checkpoints and items are written. A writer whose fence does not hold any more writes nothing."""

from typing import Protocol
from uuid import UUID


class Fence(Protocol):
    """The lease of one attempt. `holds` is asked in the thread that writes; once false, it stays false."""

    @property
    def run_id(self) -> UUID | None:
        """Whose writes they are; None where no run writes."""

    @property
    def lease_owner(self) -> str: ...

    def holds(self) -> bool: ...


class EditLease:
    """The fence of a change of a thread's state by hand."""

    def __init__(self, thread_id: UUID, lease_owner: str) -> None:
        self.run_id: UUID | None = None
        self.thread_id = thread_id
        self.lease_owner = lease_owner
        self._is_over = False

    def holds(self) -> bool:
        return not self._is_over

    def end(self) -> None:
        self._is_over = True


class LeaseLost(Exception):
    """A checkpoint write was refused: the attempt no longer owns its run, or the run is gone."""

    def __init__(self, fence: Fence) -> None:
        owned = f"run {fence.run_id}" if fence.run_id is not None else "the thread that it changes"
        super().__init__(f"{fence.lease_owner} no longer owns {owned}")

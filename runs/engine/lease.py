"""The lease of an attempt as its process knows it: the fence of all that the attempt writes."""

from typing import TYPE_CHECKING
from uuid import UUID

from platform_site.core.checkpoints.fence import Statement
from runs.engine import queue

if TYPE_CHECKING:
    from runs.engine.claim import Claim


class Lease:
    """True until the run is taken away from the attempt, or the attempt has given it back."""

    def __init__(self, claim: "Claim") -> None:
        self._claim = claim
        self._lost = False

    @property
    def run_id(self) -> UUID:
        return self._claim.run_id

    @property
    def lease_owner(self) -> str:
        return self._claim.lease_owner

    def holds(self) -> bool:
        """Return whether this process believes that it holds the lease. Once false, it stays false."""
        return not self._lost

    def lose(self) -> None:
        """Let nothing more be written under the lease. Any thread may call this."""
        self._lost = True

    def held(self) -> Statement:
        """Return the query that finds a row while the database agrees, see `Fence`."""
        return queue.HELD, (self.run_id, self.lease_owner)

    def renamed(self) -> Statement:
        """Return the statement that gives the lease another name, see `RunFence`."""
        return queue.RENAME, (self.run_id, self.lease_owner)

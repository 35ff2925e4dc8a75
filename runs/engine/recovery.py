"""Runs that were lost: how they are taken back, and how many of them a process takes up beside one another.

A graph that kills its process takes every run of that process with it. So recovered runs begin one at a time, and more
at once only while it goes well. A run on its last attempt is alone in the lane: no neighbour's crash uses it up, and
its own costs no other recovered run an attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable

from django.conf import settings

from runs.engine.claim import Claim
from runs.engine.queue import requeue_lost, take_over
from runs.models import Run

# A crash costs so many recovered runs an attempt at the most.
WIDEST = 32


def take_back(run: Run, worker: str, *, begun: bool = True) -> "Claim | bool":
    """Free a run that nobody works on. Runs in a database thread.

    Return True if the run is pending again, a claim for `worker` if the run is to be ended, and False if somebody else
    was faster. An attempt that had not `begun` does not count, and is no reason to end the run.
    """
    if run.cancel_action or (begun and run.attempt >= settings.MAX_ATTEMPTS):
        return take_over(run, worker) or False
    return requeue_lost(run, begun=begun)


async def _probation() -> None:
    await asyncio.sleep(settings.RECOVERY_PROBATION_SECONDS)


class RecoveryLane:
    """The recovered runs of a process that are on probation, and how many more may be."""

    def __init__(self, probation: Callable[[], Awaitable[None]] = _probation) -> None:
        """`probation` returns when a run has lived for long enough."""
        self.probation = probation
        # A new process begins with one: it may be here because the last one crashed.
        self.width = 1
        # The leases on probation, and whether each is of a last attempt.
        self._inside: dict[str, bool] = {}

    @property
    def room(self) -> int:
        """How many more recovered runs may be taken up now."""
        return 0 if any(self._inside.values()) else max(0, self.width - len(self._inside))

    @property
    def is_empty(self) -> bool:
        """Whether no run is on probation, so that one on its last attempt may begin."""
        return not self._inside

    def enter(self, claim: Claim) -> None:
        """Put a recovered run on probation."""
        self._inside[claim.lease_owner] = claim.attempt >= settings.MAX_ATTEMPTS

    def leave(self, claim: Claim) -> None:
        """End the probation of a run that has ended or lived for long enough. The lane doubles in the time of one."""
        self._inside.pop(claim.lease_owner, None)
        self.width = min(self.width + 1, WIDEST)

    def narrow(self) -> None:
        """Begin with one again: runs were lost with their process. From any thread."""
        self.width = 1

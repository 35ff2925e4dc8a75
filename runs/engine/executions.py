"""The attempts in work in a process: from the claim that begins one until nothing of it is left.

`_register` counts an attempt as in work, under the lease of its claim, and `_unregister` ends that. In between, the
heartbeat and the other processes find the attempt by its run. `engine.py` decides what is claimed.
"""

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from platform_site.core.background.rounds import Rounds
from platform_site.core.database.access import in_db, lost_a_lock
from platform_site.core.loops import BackgroundLoop
from platform_site.core.telemetry import metrics
from runs.engine import queue, workers
from runs.engine.attempt import Attempt
from runs.engine.claim import Claim, LeaseOf, same_lease
from runs.engine.endings import worker_lost
from runs.engine.lent_slots import Lending
from runs.engine.node_threads import NodeThreads
from runs.engine.recovery import RecoveryLane
from runs.engine.stopping import Stop

if TYPE_CHECKING:
    from runs.engine.peers import Peers

logger = logging.getLogger("switchyard.engine")


class Executions(ABC):
    """What a process executes, on a loop of its own. Methods without a word on threads may be called from any."""

    _dispatcher: Rounds

    def __init__(self, peers: "Peers | None", lane: RecoveryLane | None) -> None:
        self.worker = workers.new_name()
        # Whether the worker's row was made and is not known to be dead: without one no run may be claimed.
        self._is_alive = False
        self._peers = peers
        self.capacity = settings.CONCURRENCY
        # A run may have several synchronous nodes at work, so a small capacity takes none of them away.
        self._loop = BackgroundLoop(
            "runs", lambda: NodeThreads(max(settings.CONCURRENCY, self.capacity), thread_name_prefix="node")
        )
        self._lock = threading.Lock()
        self._attempts: dict[UUID, Attempt] = {}
        # Held while the worker gets another name, a lease is given up, or an attempt begins under its lease.
        self._naming = threading.Lock()
        # Leases that were given back because their claims had not arrived: an attempt that comes later does not begin.
        self._given_back: set[str] = set()
        # Leases of attempts that broke: they ended and had not let go.
        self._broken: set[str] = set()
        # How many of them have given up their slot.
        self._stuck = 0
        self._lending = Lending(self._slot_lent)
        # Until the next heartbeat, which reads what was asked for from the runs themselves.
        self._early_cancels: dict[UUID, str] = {}
        self._started = False
        self._draining = False
        # On the run loop only:
        self._background: set[asyncio.Task[Any]] = set()
        self._claiming: set[asyncio.Task[Any]] = set()
        self._executions: set[asyncio.Task[Any]] = set()
        self._lane = lane or RecoveryLane()

    @abstractmethod
    def wake(self, run_id: UUID | None = None) -> None:
        """See to it that a run that waits is begun when it is due; None: look at all that wait."""

    @property
    def active(self) -> int:
        """How many runs this process works on."""
        return len(self._attempts)

    @property
    def _works(self) -> bool:
        """Whether runs may be claimed in the worker's name."""
        return self._started and self._is_alive and not self._draining

    @property
    def _taken(self) -> int:
        """How many slots are taken."""
        return len(self._attempts) - self._stuck - self._lending.lent

    # --- from others, and from the heartbeat ---------------------------------------------------------

    def cancel_here(self, run_id: UUID, action: str) -> bool:
        """Stop a run that this process executes, if it does."""
        # Another thread may have committed the claim and be about to hand it over.
        self._early_cancels[run_id] = action
        attempt = self._attempts.get(run_id)
        if attempt is None:
            return False
        self._early_cancels.pop(run_id, None)
        attempt.claim.cancel_action = action
        self._loop.loop.call_soon_threadsafe(attempt.stop, Stop.CANCEL)
        return True

    def lose_here(self, run_ids: list[UUID]) -> None:
        """Stop those of these runs that are in work here."""
        for run_id in run_ids:
            attempt = self._attempts.get(run_id)
            if attempt is not None:
                attempt.lease.lose()
                self._loop.loop.call_soon_threadsafe(attempt.stop, Stop.LOST)

    def held(self) -> list[Attempt]:
        """Return the attempts that are in work now."""
        self._early_cancels.clear()
        return list(self._attempts.values())

    def holds(self, lease: LeaseOf) -> bool:
        """Return whether an attempt works under this lease now."""
        attempt = self._attempts.get(lease.run_id)
        return attempt is not None and same_lease(attempt.lease.lease_owner, lease.owner)

    # --- on the run loop --------------------------------------------------------------------------

    def _register(self, claim: Claim) -> Attempt | None:
        """Count an attempt as in work; None if its lease was given up before the claim arrived."""
        with self._naming:
            if claim.worker != self.worker or claim.lease_owner in self._given_back:
                logger.warning("the claim of run %s came too late: its lease was given up meanwhile", claim.run_id)
                return None
            attempt = Attempt(claim, self._next_worker, self._slot_given_up, self._lending)
            self._attempts[claim.run_id] = attempt
        if action := self._early_cancels.pop(claim.run_id, None):
            attempt.claim.cancel_action, attempt.stopped_by = action, Stop.CANCEL
        return attempt

    def _unregister(self, attempt: Attempt) -> None:
        if self._attempts.get(attempt.claim.run_id) is attempt:
            del self._attempts[attempt.claim.run_id]
        if attempt.lease.holds():
            self._broken.add(attempt.lease.lease_owner)
        attempt.slot.end()
        if not attempt.holds_slot:
            self._stuck -= 1
            metrics.RUNS_STUCK.dec()
        attempt.over.set_result(None)
        if self._peers is not None and attempt.stopped_by is not None:
            self._peers.released(attempt.claim.run_id)

    def _slot_given_up(self) -> None:
        self._stuck += 1
        metrics.RUNS_STUCK.inc()
        self._room_again()

    def _slot_lent(self) -> None:
        # A run may wait for a slot only if every slot was taken.
        if self._started and not self._draining and self._taken >= self.capacity - 1:
            self._loop.loop.call_soon_threadsafe(self._room_again)

    def _room_again(self) -> None:
        self._dispatcher.wake()
        if self._peers is not None:
            self._peers.has_room_again()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], tasks: set[asyncio.Task[Any]]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _next_worker(self) -> str | None:
        return None if self._draining else self.worker

    async def _execute(self, attempt: Attempt) -> None:
        claims: list[Claim] = []
        was_full = False
        try:
            claims = await attempt.execute()
        except Exception:
            logger.exception("run %s: the attempt broke; the heartbeat gives its lease back", attempt.claim.run_id)
        finally:
            was_full = self._taken >= self.capacity
            self._unregister(attempt)
        self._take(claims)
        if attempt.given_back:
            self.wake(attempt.claim.run_id)
        if was_full:
            self._room_again()

    def _take(self, claims: list[Claim]) -> None:
        for claim in claims:
            attempt = self._register(claim)
            if attempt is None:
                continue
            if claim.is_recovery:
                # Before the next claim, which may come sooner than the task that is made here begins.
                self._lane.enter(claim)
            self._spawn(self._recover(attempt) if claim.is_recovery else self._execute(attempt), self._executions)

    async def _recover(self, attempt: Attempt) -> None:
        execution = asyncio.create_task(self._execute(attempt))
        probation = asyncio.ensure_future(self._lane.probation())
        try:
            await asyncio.wait({execution, probation}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            probation.cancel()
            self._lane.leave(attempt.claim)
            self._dispatcher.wake()
        await execution

    async def _end_lost(self, run_id: UUID, owner: str) -> None:
        run = await in_db(queue.ending_run, run_id, owner)
        claim = await in_db(queue.take_over, run, self.worker) if run is not None else None
        if claim is not None and (attempt := self._register(claim)) is not None:
            await self._end(attempt)

    async def _end(self, attempt: Attempt) -> None:
        claim = attempt.claim
        try:
            if claim.cancel_action:
                claims = await attempt.abandon(attempt.cancelled())
            else:
                ending = worker_lost(claim.attempt)
                logger.error("run %s: %s", claim.run_id, ending.error_text)
                claims = await attempt.abandon(ending)
        finally:
            self._unregister(attempt)
        self._take(claims)
        # Beside the dispatcher, which must not wait for the code of a graph.
        self._spawn(attempt.show_state(), self._background)

    async def _flush_spans(self) -> None:
        for attempt in list(self._attempts.values()):
            try:
                await attempt.flush_spans()
            except DatabaseError as error:
                if not lost_a_lock(error):
                    raise
                logger.warning("run %s is locked; its spans are stored later", attempt.claim.run_id)

"""The engine of a process that executes runs, the server or a worker: a loop of its own for runs, woken by events.

Numbered, so that logs and reviews can refer to it:
 1. The engine is a worker with a name and a row (`workers.py`). It claims runs from the moment when the row is there.
    The dispatcher's first round takes back the runs of a process that died (on SQLite at once: one process owns the
    data directory). Later the background task `leases` does so (`sweep.py`), where no graph holds it up.
 2. A run is claimed where it is created, if a slot is free and its thread is idle; else when the run before it ends.
 3. The dispatcher claims what is due and unclaimed: delayed runs, runs for which no slot was free, recovered runs.
 4. The heartbeat (`heartbeat.py`) keeps the row alive, learns of cancels and lost runs, and gives back leases without
    an attempt. If the row is dead, the engine stops every attempt and takes a new name. Nothing ends dispatcher or
    heartbeat but a drain; the log and `/metrics` tell when each last ran (`core/background/rounds.py`).
 5. Crash-recovered runs are taken up one at a time at first, and more at once while they live through their probation
    (`recovery.py`), so that a graph that kills its process uses up its own attempts and not its neighbours'.
 6. Where there are other processes (`peers.py`), runs and their ends are passed on to whoever can see to them.
 7. `drain` stops claiming, lets running work finish within a limit, and gives the rest back to pending.
"""

import asyncio
import logging
from functools import cache, partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from platform_site.core.background.rounds import Rounds, Task
from platform_site.core.background.tasks import background
from platform_site.core.database.access import IS_POSTGRES, in_db, write_turn
from platform_site.core.items.configured import close_storage
from platform_site.core.loops import call_graphs_on
from platform_site.core.telemetry import logs, metrics
from runs.engine import queue, workers
from runs.engine.claim import Claim, LeaseOf
from runs.engine.executions import Executions
from runs.engine.heartbeat import Heartbeat
from runs.engine.recovery import RecoveryLane, take_back
from runs.engine.stopping import Stop
from runs.engine.workers import Clock, DatabaseClock

if TYPE_CHECKING:
    from runs.engine.peers import Peers

logger = logging.getLogger("switchyard.engine")

# How long a drain waits for runs that it has stopped.
GRACE_SECONDS = 10.0
# How long it waits for a database that is to learn of its end, and would find out by itself.
RETIRE_SECONDS = 2.0


class Engine(Executions):
    """Executes runs in this process. Methods without a word on threads may be called from any."""

    def __init__(
        self, peers: "Peers | None" = None, lane: RecoveryLane | None = None, clock: Clock | None = None
    ) -> None:
        """`peers`: the other processes, where there are any. `lane`: for crash-recovered runs. `clock`: of leases."""
        super().__init__(peers, lane)
        self._clock = clock or DatabaseClock()
        self._dispatcher = Rounds(Task("dispatcher", self._dispatch, settings.SWEEP_SECONDS))
        self._dispatching: asyncio.Task[None] | None = None
        self._has_recovered = False
        self._heartbeat = Heartbeat(self, self._clock)

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the loop, the heartbeat and the dispatcher; idempotent."""
        with self._lock:
            if self._started:
                return
            self._started = True
        metrics.WORKERS_ACTIVE.set_function(lambda: self.active)
        self._loop.start()
        call_graphs_on(self._loop)
        background().watch(self._dispatcher.status)
        # Its first beat starts the dispatcher.
        self._heartbeat.start()
        if self._peers is not None:
            self._peers.serve(self)

    def drain(self, seconds: float) -> None:
        """Finish running work within `seconds`, give the rest back, stop the loop. Blocks; idempotent."""
        with self._lock:
            if not self._started or self._draining:
                return
            self._draining = True
        try:
            self._loop.submit(self._drain(seconds)).result(timeout=seconds + 2 * GRACE_SECONDS + 5)
        except TimeoutError:
            logger.warning("some runs did not stop in time; they are taken up again after the next start")
        except Exception:
            logger.exception("the drain did not end well")
        self._heartbeat.stop()
        self._loop.stop()
        # Whatever could not be stopped does not count any more.
        metrics.WORKERS_ACTIVE.set_function(lambda: 0)

    async def _drain(self, seconds: float) -> None:
        # What is just being claimed is among the executions when it has ended.
        self._dispatcher.end()
        claiming = self._claiming | ({self._dispatching} if self._dispatching is not None else set())
        if claiming:
            await asyncio.wait(claiming, timeout=GRACE_SECONDS)
        if self._executions:
            await asyncio.wait(self._executions, timeout=seconds)
        for attempt in list(self._attempts.values()):
            attempt.stop(Stop.DRAIN)
        if self._executions:
            await asyncio.wait(self._executions, timeout=GRACE_SECONDS)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._heartbeat.stop()
        await self._retire()
        if self._peers is not None:
            # The next runs of threads whose run has just ended here.
            self._peers.offer(None)
        # Requests that still come in may call code of the project, and the loop of the runs is over.
        call_graphs_on(None)
        await close_storage()

    async def _retire(self) -> None:
        """Mark the worker dead if no attempt is left. One that is left keeps its thread until its time is over."""
        if self._attempts or not self._is_alive:
            return
        self._is_alive = False
        try:
            await asyncio.wait_for(in_db(workers.retire, self.worker, self._clock), RETIRE_SECONDS)
        except (DatabaseError, TimeoutError) as error:
            logger.warning("worker %s could not say that it has ended: %s", self.worker, error)

    # --- from services ---------------------------------------------------------------------------

    def has_room(self, taken: int = 0) -> bool:
        """Whether a run may be claimed for this process now, beside `taken` more that are about to be accepted.

        Those of one group of writes may overshoot together.
        """
        return self._works and self._taken + taken < self.capacity

    def accept(self, claim: Claim) -> None:
        """Execute a claimed run."""
        if (attempt := self._register(claim)) is not None:
            self._loop.loop.call_soon_threadsafe(self._spawn, self._execute(attempt), self._executions)

    def wake(self, run_id: UUID | None = None) -> None:
        """See to it that a run that waits is begun when it is due; None: look at all that wait."""
        if self._peers is not None:
            self._peers.offer(run_id)
        else:
            self.look()

    def cancel(self, run_id: UUID, action: str) -> None:
        """Stop a run, if it is in work."""
        if not self.cancel_here(run_id, action) and self._peers is not None:
            self._peers.cancel(run_id, action)

    def end(self, claim: Claim) -> None:
        """End a run between two attempts, as its `cancel_action` says; if nobody can now, a sweep does it."""
        if self._started and not self._draining:
            if (attempt := self._register(claim)) is not None:
                self._loop.loop.call_soon_threadsafe(self._spawn, self._end(attempt), self._executions)
        elif self._peers is not None:
            self._peers.end(claim.run_id, claim.lease_owner)

    async def released(self, run_id: UUID, seconds: float) -> None:
        """Wait until no process works on the run any more, `seconds` at most."""
        attempt = self._attempts.get(run_id)
        if attempt is not None:
            await asyncio.wait({asyncio.wrap_future(attempt.over)}, timeout=seconds)
        elif self._peers is not None:
            await self._peers.let_go(run_id, queue.is_held, seconds)

    def lose(self, run_ids: list[UUID]) -> None:
        """Stop runs that were deleted: nothing they write counts any more, from this moment where they are in work."""
        self.lose_here(run_ids)
        if self._peers is not None:
            self._peers.lose(run_ids)

    # --- from background tasks -------------------------------------------------------------------

    async def take_back(self, *, everything: bool) -> None:
        """Take back runs whose owner is gone, and end those that may not be tried again. On any loop.

        `everything`: no other process can be alive.
        """
        # Their rows first: from then on no beat of theirs keeps a lease alive.
        bury = workers.bury_all_others if everything else workers.bury
        for name in await in_db(bury, self.worker, self._clock):
            logger.warning("worker %s is declared dead: its process has ended, or stands still", name)
        for run in await in_db(queue.lost_runs):
            if self._draining:
                return
            outcome = await in_db(take_back, run, self.worker)
            if outcome is True:
                logger.warning("run %s lost its process in attempt %d; it is taken up again", run.run_id, run.attempt)
            if outcome:
                self._lane.narrow()
            self._taken_back(outcome)

    def _taken_back(self, outcome: Claim | bool) -> None:
        if isinstance(outcome, Claim):
            self.end(outcome)
        elif outcome:
            self.look()

    async def flush_spans(self) -> None:
        """Store the spans that have ended so far. On any loop."""
        if self._started and not self._draining:
            await self._loop.run(self._flush_spans())

    # --- from peers ----------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more runs this process would take now."""
        return self.capacity - self._taken if self._works else 0

    async def take(self, run_ids: list[UUID]) -> None:
        """Claim those of these runs that are to be had, in the order of the queue."""
        if self._draining:
            # The loop may have ended.
            self._pass_on(run_ids)
        else:
            await self._loop.run(self._take_named(run_ids))

    def look(self) -> None:
        """Claim what is due now, and find out anew when the next will be."""
        if self._started and not self._draining:
            self._loop.loop.call_soon_threadsafe(self._dispatcher.wake)

    def end_lost(self, run_id: UUID, owner: str) -> None:
        """End a run that another process has left between two attempts under the lease `owner`, unless others do."""
        if self._started and not self._draining:
            self._loop.submit(self._end_lost(run_id, owner))

    # --- on the run loop --------------------------------------------------------------------------

    async def _main(self) -> None:
        self._dispatching = asyncio.current_task()
        await self._dispatcher.run()

    async def _dispatch(self) -> float | None:
        """Claim what is due while slots are free; seconds until the next run is due, None if none is."""
        if not self._has_recovered:
            await self.take_back(everything=not IS_POSTGRES)
            self._has_recovered = True
        now = timezone.now()
        while not self._draining:
            free = self.capacity - self._taken
            if free <= 0:
                return None
            room, alone = self._lane.room, self._lane.is_empty
            claims = await in_db(queue.claim_next, self.worker, limit=min(free, 100), recoveries=room, alone=alone)
            self._take(claims)
            if not claims:
                break
        # What was due and was not claimed waits for its thread or its lane, and for the event that frees it.
        due = await in_db(queue.next_due, now)
        return None if due is None else max(0.0, (due - timezone.now()).total_seconds())

    async def _take_named(self, run_ids: list[UUID]) -> None:
        if self._draining:
            self._pass_on(run_ids)
            return
        claiming = asyncio.current_task()
        assert claiming is not None
        self._claiming.add(claiming)
        try:
            claims = await in_db(queue.claim_named, self.worker, run_ids)
            self._take(claims)
        finally:
            self._claiming.discard(claiming)
        if len(claims) < len(run_ids) and await in_db(queue.any_delayed, run_ids):
            self._dispatcher.wake()

    def _pass_on(self, run_ids: list[UUID]) -> None:
        """Offer to others what was taken before the drain was known."""
        for run_id in run_ids:
            self.wake(run_id)

    # --- on the heartbeat's thread -----------------------------------------------------------------

    def worker_lives(self) -> None:
        """Claim runs from now on: the row of the worker is there."""
        self._is_alive = True
        if not self._started or self._draining:
            return
        if self._dispatching is None:
            self._loop.submit(self._main())
        self._loop.loop.call_soon_threadsafe(self._room_again)

    def worker_died(self) -> None:
        """Stop every attempt, and take a new name: others have declared this worker dead."""
        with self._naming:
            self._is_alive = False
            dead, self.worker = self.worker, workers.new_name()
            self.lose_here(list(self._attempts))
        logger.warning("worker %s was declared dead; it gives up its runs and goes on as %s", dead, self.worker)
        logs.rename_worker(self.worker)

    def give_back(self, lease: LeaseOf) -> None:
        """Free a run under whose lease nobody works: its claim has not arrived, or its attempt broke."""
        with self._naming:
            if self.holds(lease):
                return
            self._given_back.add(lease.owner)
        begun = lease.owner in self._broken
        with write_turn():
            run = queue.run_under(lease.owner)
            outcome = take_back(run, self.worker, begun=begun) if run is not None else False
        if outcome:
            what = "its attempt broke" if begun else "its claim has not arrived"
            logger.warning("run %s is given back: %s", lease.run_id, what)
        self._taken_back(outcome)


def wake_thread(thread_id: UUID) -> None:
    """Begin what waits on the thread once the caller's transaction is committed."""
    for run_id in queue.pending_of(thread_id):
        transaction.on_commit(partial(engine().wake, run_id), robust=True)


@cache
def engine() -> Engine:
    """The engine of this process."""
    if not settings.REDIS_URL:
        return Engine()
    from runs.engine.peers import redis_peers

    return Engine(redis_peers())

"""The engine inside a process, that of the server or a worker: runs on a loop of their own, woken by events.

Numbered, so that logs and reviews can refer to it:
 1. The dispatcher's first round takes back the runs of a process that died (on SQLite at once: one process owns the
    data directory). Later the background task `leases` does so (`sweep.py`), where no graph holds it up.
 2. A run is claimed where it is created, if a slot is free and its thread is idle; else when the run before it ends.
 3. The dispatcher claims what is due and unclaimed: delayed runs, runs for which no slot was free, recovered runs.
 4. The heartbeat (`heartbeat.py`) renews the leases and learns of cancels and lost runs. Nothing ends dispatcher or
    heartbeat but a drain; the log and `/metrics` tell when each last ran (`core/background/rounds.py`).
 5. Crash-recovered runs are taken up one at a time at first, and more at once while they live through their probation
    (`recovery.py`), so that a graph that kills its process uses up its own attempts and not its neighbours'.
 6. Where there are other processes (`peers.py`), runs and their ends are passed on to whoever can see to them.
 7. `drain` stops claiming, lets running work finish within a limit, and gives the rest back to pending.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from platform_site.core.background.rounds import Rounds, Task
from platform_site.core.background.tasks import background
from platform_site.core.database.access import IS_POSTGRES, in_db, lost_a_lock
from platform_site.core.items.configured import close_storage
from platform_site.core.loops import BackgroundLoop, call_graphs_on
from platform_site.core.telemetry import metrics
from runs.engine import queue
from runs.engine.attempt import Attempt, Stop
from runs.engine.finish import Ending
from runs.engine.heartbeat import Heartbeat
from runs.engine.lent_slots import Lending
from runs.engine.node_threads import NodeThreads
from runs.engine.queue import Claim
from runs.engine.recovery import RecoveryLane
from runs.models import RunStatus

if TYPE_CHECKING:
    from runs.engine.peers import Peers

logger = logging.getLogger("switchyard.engine")

# How long a drain waits for runs that it has stopped.
GRACE_SECONDS = 10.0


class Engine:
    """Executes runs in this process. Methods without a word on threads may be called from any."""

    def __init__(self, peers: "Peers | None" = None, lane: RecoveryLane | None = None) -> None:
        """`peers`: the other processes, where there are any. `lane`: for crash-recovered runs."""
        self.worker = uuid4().hex[:12]
        self._peers = peers
        self.capacity = settings.CONCURRENCY
        # A run may have several synchronous nodes at work, so a small capacity takes none of them away.
        self._loop = BackgroundLoop(
            "runs", lambda: NodeThreads(max(settings.CONCURRENCY, self.capacity), thread_name_prefix="node")
        )
        self._lock = threading.Lock()
        self._attempts: dict[UUID, Attempt] = {}
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
        self._dispatcher = Rounds(Task("dispatcher", self._dispatch, settings.SWEEP_SECONDS))
        self._dispatching: asyncio.Task[None] | None = None
        self._has_recovered = False
        self._lane = lane or RecoveryLane()
        self._heartbeat = Heartbeat(self._held, cancel=self.cancel_here, lose=self.lose_here)

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
        self._heartbeat.start()
        background().watch(self._dispatcher.status)
        self._loop.submit(self._main())
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
        if self._peers is not None:
            # The next runs of threads whose run has just ended here.
            self._peers.offer(None)
        # Requests that still come in may call code of the project, and the loop of the runs is over.
        call_graphs_on(None)
        await close_storage()

    @property
    def active(self) -> int:
        """How many runs this process works on."""
        return len(self._attempts)

    @property
    def _taken(self) -> int:
        """How many slots are taken."""
        return len(self._attempts) - self._stuck - self._lending.lent

    # --- from services ---------------------------------------------------------------------------

    def has_room(self, taken: int = 0) -> bool:
        """Whether a run may be claimed for this process now, beside `taken` more that are about to be accepted.

        Those of one group of writes may overshoot together.
        """
        return self._started and not self._draining and self._taken + taken < self.capacity

    def accept(self, claim: Claim) -> None:
        """Execute a claimed run."""
        attempt = self._register(claim)
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
            self._loop.loop.call_soon_threadsafe(self._spawn, self._end(self._register(claim)), self._executions)
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
        alive = {attempt.lease.lease_owner for attempt in list(self._attempts.values())}
        for run in await in_db(queue.expired_runs, worker=self.worker, alive=alive, everything=everything):
            if self._draining:
                return
            if run.cancel_action or run.attempt >= settings.MAX_ATTEMPTS:
                claim = await in_db(queue.take_over, run, self.worker)
                if claim is not None:
                    self._lane.narrow()
                    self.end(claim)
            elif await in_db(queue.requeue_lost, run):
                logger.warning("run %s lost its process in attempt %d; it is taken up again", run.run_id, run.attempt)
                self._lane.narrow()
                self.look()

    async def flush_spans(self) -> None:
        """Store the spans that have ended so far. On any loop."""
        if self._started and not self._draining:
            await self._loop.run(self._flush_spans())

    # --- from peers ----------------------------------------------------------------------------------

    def room(self) -> int:
        """How many more runs this process would take now."""
        return self.capacity - self._taken if self._started and not self._draining else 0

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

    # --- on the run loop --------------------------------------------------------------------------

    def _register(self, claim: Claim) -> Attempt:
        attempt = Attempt(claim, self._next_worker, self._slot_given_up, self._lending)
        self._attempts[claim.run_id] = attempt
        if action := self._early_cancels.pop(claim.run_id, None):
            attempt.claim.cancel_action, attempt.stopped_by = action, Stop.CANCEL
        return attempt

    def _unregister(self, attempt: Attempt) -> None:
        if self._attempts.get(attempt.claim.run_id) is attempt:
            del self._attempts[attempt.claim.run_id]
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
            logger.exception(
                "run %s: the attempt broke; its lease runs out and it is tried again", attempt.claim.run_id
            )
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

    async def _end_lost(self, run_id: UUID, owner: str) -> None:
        run = await in_db(queue.ending_run, run_id, owner)
        claim = await in_db(queue.take_over, run, self.worker) if run is not None else None
        if claim is not None:
            await self._end(self._register(claim))

    async def _end(self, attempt: Attempt) -> None:
        claim = attempt.claim
        try:
            if claim.cancel_action:
                claims = await attempt.abandon(attempt.cancelled())
            else:
                message = (
                    f"The process that executed this run ended unexpectedly in each of its {claim.attempt} attempts; "
                    "it is not tried again."
                )
                logger.error("run %s: %s", claim.run_id, message)
                error = {"error": "WorkerLost", "message": message}
                claims = await attempt.abandon(Ending(RunStatus.ERROR, error=error, error_text=message))
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

    # --- on the heartbeat's thread -----------------------------------------------------------------

    def _held(self) -> list[Attempt]:
        self._early_cancels.clear()
        return list(self._attempts.values())


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

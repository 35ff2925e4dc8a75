"""The heartbeat of a worker: it keeps the worker's row alive, and compares the leases in its name with its attempts.

It has a thread of its own, which no graph can block, and its statements come before whatever waits for SQLite's writer.
Each beat
1. renews the row of the worker, whatever the runs do. If the row is dead, the process stops all its runs, takes a new
   name and goes on;
2. reads the leases in the worker's name, and with them cancels: one query. An attempt without its lease is stopped. A
   lease without an attempt is given back: its claim has never arrived, or its attempt broke.
"""

import threading
import time
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connection

from platform_site.core.background.rounds import Status
from platform_site.core.background.tasks import background
from platform_site.core.database.access import write_turn
from runs.engine import queue, workers
from runs.engine.attempt import Attempt
from runs.engine.claim import LeaseOf, same_lease
from runs.engine.workers import Clock


class Work(Protocol):
    """What the heartbeat asks of the engine. It calls from its own thread."""

    @property
    def worker(self) -> str:
        """The worker's name."""

    def worker_lives(self) -> None:
        """Claim runs from now on: the row of the worker is there."""

    def worker_died(self) -> None:
        """Stop every attempt, and take a new name."""

    def held(self) -> list[Attempt]:
        """Return the attempts that are in work now."""

    def holds(self, lease: LeaseOf) -> bool:
        """Return whether an attempt works under this lease now."""

    def cancel_here(self, run_id: UUID, action: str) -> object:
        """Stop an attempt of this process as its run was asked to end."""

    def lose_here(self, run_ids: list[UUID]) -> None:
        """Stop attempts of this process only: runs that were taken from it may be in work elsewhere."""

    def give_back(self, lease: LeaseOf) -> None:
        """Free a run under whose lease nobody works."""


class Heartbeat:
    """Beats every HEARTBEAT_SECONDS from `start` to `stop`; nothing else ends it."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._stopped = threading.Event()
        # The name whose row was made.
        self._registered = ""
        # Leases that the last beat found without an attempt. A claim may be on its way, so two beats must find them.
        self._without_attempt: set[str] = set()

    def start(self) -> None:
        """Begin to beat."""
        threading.Thread(target=self._keep, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more; does not wait for a beat under way."""
        self._stopped.set()

    def _keep(self) -> None:
        """Beat until `stop`, whatever a beat raises: without this thread others take the worker for dead."""
        status = Status("heartbeat", settings.HEARTBEAT_SECONDS)
        background().watch(status)
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = settings.HEARTBEAT_SECONDS
            begin = time.perf_counter()
            try:
                self.beat()
                status.ran(time.perf_counter() - begin)
            except BaseException as error:
                pause = status.failed(error)
        connection.close()

    def beat(self) -> None:
        """Keep the worker alive, and compare its leases with its attempts. The first beat makes the worker's row."""
        close_old_connections()
        worker = self._work.worker
        if worker == self._registered:
            with write_turn():
                is_alive = workers.renew(worker, self._clock)
            if is_alive:
                self._compare(worker)
                return
            self._work.worker_died()
        self._register()

    def _register(self) -> None:
        worker = self._work.worker
        with write_turn():
            workers.register(worker, self._clock)
        self._registered, self._without_attempt = worker, set()
        self._work.worker_lives()

    def _compare(self, worker: str) -> None:
        # The attempts first: what ends meanwhile is looked at again, and what begins meanwhile has its lease.
        attempts = self._work.held()
        leases = {lease.run_id: lease for lease in queue.leases_of(worker)}
        for attempt in attempts:
            self._judge(attempt, leases.get(attempt.claim.run_id))
        without = [lease for lease in leases.values() if not self._work.holds(lease)]
        known, self._without_attempt = self._without_attempt, {lease.owner for lease in without}
        for lease in without:
            if lease.owner in known:
                self._work.give_back(lease)

    def _judge(self, attempt: Attempt, lease: LeaseOf | None) -> None:
        run_id = attempt.claim.run_id
        if lease is None or not same_lease(lease.owner, attempt.lease.lease_owner):
            # It may have just ended; if it still runs, its run was deleted or taken away.
            if not attempt.over.done() and attempt.lease.holds():
                self._work.lose_here([run_id])
        elif lease.cancel_action and attempt.stopped_by is None:
            self._work.cancel_here(run_id, lease.cancel_action)

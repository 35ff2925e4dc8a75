"""The heartbeat: renews the leases of the attempts in this process, and learns from them of cancels and lost runs.

On a thread of its own, which no graph can block, and before whatever waits for SQLite's writer.
"""

import threading
import time
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connection

from platform_site.core.background.rounds import Status
from platform_site.core.background.tasks import background
from platform_site.core.database.access import write_turn
from runs.engine import queue
from runs.engine.attempt import Attempt
from runs.models import Run


class Heartbeat:
    """Beats every HEARTBEAT_SECONDS from `start` to `stop`; nothing else ends it."""

    def __init__(
        self,
        attempts: Callable[[], list[Attempt]],
        *,
        cancel: Callable[[UUID, str], object],
        lose: Callable[[list[UUID]], None],
    ) -> None:
        """`attempts`: those in work now. The others are called on the heartbeat's thread, and stop attempts of this
        process only: the run that was taken from it may be in work elsewhere."""
        self._attempts = attempts
        self._cancel = cancel
        self._lose = lose
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to beat."""
        threading.Thread(target=self._keep, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more; does not wait for a beat under way."""
        self._stopped.set()

    def _keep(self) -> None:
        """Whatever it meets: without this thread every lease would run out."""
        status = Status("heartbeat", settings.HEARTBEAT_SECONDS)
        background().watch(status)
        pause = settings.HEARTBEAT_SECONDS
        while not self._stopped.wait(pause):
            pause = settings.HEARTBEAT_SECONDS
            begin = time.perf_counter()
            try:
                self._beat()
                status.ran(time.perf_counter() - begin)
            except BaseException as error:
                pause = status.failed(error)
        connection.close()

    def _beat(self) -> None:
        held = {attempt.lease.lease_owner: attempt for attempt in self._attempts()}
        if not held:
            return
        close_old_connections()
        with write_turn():
            renewed = queue.renew(list(held))
            if missed := [owner for owner, attempt in held.items() if attempt.claim.run_id not in renewed]:
                # Locked at that moment, or it has ended.
                renewed |= queue.renew(missed)
        for attempt in held.values():
            self._judge(attempt, renewed)

    def _judge(self, attempt: Attempt, renewed: dict[UUID, str | None]) -> None:
        run_id = attempt.claim.run_id
        if run_id not in renewed:
            # It may have just ended; if it still runs, it was deleted or taken away.
            if not attempt.over.done() and attempt.lease.holds() and not _owns(attempt):
                self._lose([run_id])
        elif (action := renewed[run_id]) and attempt.stopped_by is None:
            self._cancel(run_id, action)


def _owns(attempt: Attempt) -> bool:
    return Run.objects.filter(run_id=attempt.claim.run_id, lease_owner=attempt.lease.lease_owner).exists()

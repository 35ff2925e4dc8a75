"""The rows of workers: which processes that execute runs are alive. Each function runs in a database thread.

The life of a row:
- `register` makes the row, under a name that no process had before;
- `renew` moves the end of its time on, with each beat of the process (`heartbeat.py`);
- `bury` marks the rows dead whose time is over, by compare-and-set; `retire` marks the row of a process that has ended;
- a dead row stays dead: no beat renews it, and no run is claimed in its name;
- `forget` deletes rows that have been dead for a day.

A run's lease names its worker (`queue.py`). The lease is alive while the worker's row is there and not dead. All times
are compared with one clock, the database's, because the clocks of several machines differ.
"""

from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, F, QuerySet, When
from django.db.models.functions import Now
from django.utils import timezone

from platform_site.core.database.access import IS_POSTGRES
from runs.models import Worker

# How long the row of a dead worker is kept.
KEPT = timedelta(days=1)
# The SQL condition that a worker, its one parameter, is alive. No time is compared: a worker whose beats are late is
# alive until somebody declares it dead.
ALIVE = "EXISTS (SELECT 1 FROM runs_worker w WHERE w.name = %s AND w.died_at IS NULL)"


class Clock(Protocol):
    """A clock for statements: what is compared with, and stored in, the rows of workers."""

    def now(self) -> Any:
        """Return a `datetime`, or an SQL expression of one."""


class DatabaseClock:
    """The database's clock; SQLite has the clock of its one process."""

    def now(self) -> "datetime | Now":
        return Now() if IS_POSTGRES else timezone.now()


def new_name() -> str:
    """Return a name for a worker that no other worker has, had or will have."""
    return uuid4().hex[:16]


def register(name: str, clock: Clock) -> None:
    """Make the worker's row, alive for the time of a lease; if the row is there already, leave it as it is."""
    now = clock.now()
    row = Worker(name=name, started_at=now, alive_until=now + _lease())
    Worker.objects.bulk_create([row], ignore_conflicts=True)


def renew(name: str, clock: Clock) -> bool:
    """Keep the worker alive for the time of a lease from now on. Return False if its row is dead or gone.

    A worker whose beat comes late becomes patient for the time of a lease: what held up its beat, such as a database
    that was away, may hold up the beats of others.
    """
    now = clock.now()
    until = now + _lease()
    patient = Case(When(alive_until__lt=now, then=until), default=F("patient_until"), output_field=DateTimeField())
    return bool(_living().filter(name=name).update(alive_until=until, patient_until=patient))


def bury(judge: str, clock: Clock) -> list[str]:
    """Mark the workers dead whose time is over, and return their names. Never the judge itself.

    Only a judge whose own beats are in time finds others late. A row that is renewed at the same moment stays alive,
    and a row that another session has locked is left to the next round.
    """
    now = clock.now()
    in_time = _living().filter(name=judge, alive_until__gte=now).exclude(patient_until__gt=now)
    late = _living().filter(Exists(in_time), alive_until__lt=now).exclude(name=judge)
    return _mark_dead(late, now)


def bury_all_others(judge: str, clock: Clock) -> list[str]:
    """Mark every other worker dead, whose process cannot be alive, and return their names."""
    return _mark_dead(_living().exclude(name=judge), clock.now())


def retire(name: str, clock: Clock) -> None:
    """Mark the worker dead that has ended its work."""
    _mark_dead(_living().filter(name=name), clock.now())


def forget(clock: Clock) -> None:
    """Delete the rows of workers that have been dead for long."""
    Worker.objects.filter(died_at__lt=clock.now() - KEPT).delete()


def alive_in_time(clock: Clock) -> "QuerySet[Worker]":
    """Return the workers whose time is not over, for those who only look."""
    return _living().filter(alive_until__gte=clock.now())


def _living() -> "QuerySet[Worker]":
    return Worker.objects.filter(died_at=None)


def _mark_dead(workers: "QuerySet[Worker]", now: Any) -> list[str]:
    with transaction.atomic():
        names = list(workers.select_for_update(skip_locked=True).values_list("name", flat=True))
        if names:
            workers.filter(name__in=names).update(died_at=now)
    return names


def _lease() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)

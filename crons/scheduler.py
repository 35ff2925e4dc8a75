"""The scheduler: makes the runs of crons that are due. Any number of processes may do so on one database.

1. A round looks for crons that are due, and fires each in a transaction of its own.
2. That transaction moves the cron on to its next due time, if nobody else has (compare-and-set); it writes the ticks,
   and makes the run. So a due time has one run, or none and the reason.
3. The round ends with the time until the next cron is due; a change of a cron wakes the task.
4. A clock that was set back leaves crons that are due too late: they are moved back, and what has been fired by then is
   not fired again, because its tick is there.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from crons.models import Cron, CronTick, OverlapPolicy
from crons.policy import Missed, plan
from crons.schedule import ScheduleError, parse
from crons.services import lock_targets, next_due, run_make
from platform_site.core.database.access import in_db, moment_param, read_db, uuid_param
from platform_site.core.database.outages import outage
from platform_site.core.errors import ApiError, NotFound
from runs.models import IN_FLIGHT, Run

logger = logging.getLogger("switchyard.crons")

# Crons that are fired beside one another.
BATCH = 32
# Crons that are looked at together when the clock was set back.
REALIGNED = 500
Outcome = CronTick.Outcome


class Scheduler:
    """The scheduler of a process."""

    def __init__(self) -> None:
        # The latest moment at which it has looked.
        self._looked: datetime | None = None
        # Whether crons are looked for that are due too late, and the last one that was looked at.
        self._is_realigning = False
        self._realigned: UUID | None = None

    async def round(self) -> float | None:
        """Fire what is due; seconds until something is due again, None if nothing is."""
        await self.fire_due(timezone.now())
        if self._is_realigning:
            return 0.0
        due = await read_db(next_due_date)
        return None if due is None else max(0.0, (due - timezone.now()).total_seconds())

    async def fire_due(self, now: datetime) -> int:
        """Fire every cron that is due at `now`; how many runs were made. A cron that fails holds up no other."""
        if self._looked is None or now < self._looked:
            self._is_realigning, self._realigned = True, None
        self._looked = now
        made, failures = 0, []
        after: Cron | None = None
        while batch := await read_db(due_crons, now, after):
            firing = [in_db(fire, cron, now) for cron in batch]
            for outcome in await asyncio.gather(*firing, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    failures.append(outcome)
                else:
                    made += outcome is Outcome.FIRED
            after = batch[-1]
        if self._is_realigning:
            await self._realign(now)
        if failures:
            raise failures[0]
        return made

    async def _realign(self, now: datetime) -> None:
        """Look at some crons; the next rounds look at others. What is due must not wait until all have been seen."""
        early, self._realigned = await read_db(crons_set_back, now, self._realigned)
        for cron_id, due, earlier in early:
            await in_db(realign, cron_id, due, earlier)
        self._is_realigning = self._realigned is not None


def next_due_date() -> datetime | None:
    """When a cron is due next."""
    due = Cron.objects.filter(enabled=True, next_run_date__isnull=False).order_by("next_run_date")
    return due.values_list("next_run_date", flat=True).first()


def due_crons(now: datetime, after: Cron | None) -> list[Cron]:
    """Crons that are due, those that are due for longest first; a batch of those that come `after` one."""
    due = Cron.objects.filter(enabled=True, next_run_date__lte=now)
    if after is not None:
        same = Q(next_run_date=after.next_run_date, cron_id__gt=after.cron_id)
        due = due.filter(Q(next_run_date__gt=after.next_run_date) | same)
    return list(due.order_by("next_run_date", "cron_id")[:BATCH])


def fire(cron: Cron, now: datetime) -> "Outcome | None":
    """Do what is to be done at `now` about a cron that was found due; None if somebody else has, or has changed it.

    Whatever goes wrong with this cron becomes the reason of its tick. What the database cannot do is raised, and the
    cron is still due.
    """
    try:
        return _fire(cron, now)
    except ScheduleError as error:
        # Its zone is not known any more, or somebody wrote into the table.
        return _give_up(cron, now, f"{error} The cron is disabled.", following=None, enabled=False)
    except Exception as error:
        if outage(error) is not None:
            raise
        logger.exception("cron %s could not be fired", cron.cron_id)
        following = next_due(parse(cron.schedule, cron.timezone), cron.ends_at, now)
        return _give_up(cron, now, f"It could not be fired: {type(error).__name__}: {error}", following=following)


def _fire(cron: Cron, now: datetime) -> "Outcome | None":
    planned = plan(
        parse(cron.schedule, cron.timezone),
        _due(cron),
        now,
        ends_at=cron.ends_at,
        policy=cron.misfire_policy,
        grace=timedelta(seconds=settings.CRON_GRACE_SECONDS),
    )
    with transaction.atomic():
        lock_targets(cron.workspace_id, cron.assistant_id, cron.thread_id)
        if not _take(cron, planned.following):
            return None
        if planned.missed:
            _record_missed(cron, planned.missed, now)
        if planned.fired is None:
            return Outcome.MISSED
        if _is_decided(cron, planned.fired):
            return None
        return _run(cron, planned.fired, planned.reason, now)


def _due(cron: Cron) -> datetime:
    assert cron.next_run_date is not None, "only crons with a next date are due"
    return cron.next_run_date


def _take(cron: Cron, following: datetime | None) -> bool:
    """Move the cron on; False if somebody else has, or has changed or paused it."""
    unchanged = Cron.objects.filter(
        pk=cron.pk, enabled=True, next_run_date=cron.next_run_date, updated_at=cron.updated_at
    )
    return bool(unchanged.update(next_run_date=following))


def _is_decided(cron: Cron, due: datetime) -> bool:
    """Whether the due time was there before, which it was if the clock has been set back.

    What a clock that was ahead has missed is not missed any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, outcome FROM crons_crontick WHERE cron_id = %s AND due_at = %s",
            [uuid_param(cron.pk), moment_param(due)],
        )
        row = cursor.fetchone()
        if row is not None and row[1] == Outcome.MISSED:
            cursor.execute("DELETE FROM crons_crontick WHERE id = %s", [row[0]])
            return False
    return row is not None


def _run(cron: Cron, due: datetime, reason: str, now: datetime) -> "Outcome":
    """Make the run of a due time, or say why there is none."""
    tick = CronTick(cron_id=cron.pk, due_at=due, outcome=Outcome.FIRED, reason=reason, fired_at=now)
    if cron.overlap_policy == OverlapPolicy.SKIP and (going := _last_run_if_going(cron)):
        tick.outcome = Outcome.SKIPPED
        tick.reason = f"The cron's last run, {going}, is still going, and its overlap_policy is to skip."
    else:
        try:
            with transaction.atomic():
                made = run_make(cron)
        except ApiError as refusal:
            tick.outcome, tick.reason = Outcome.SKIPPED, f"The run was refused: {refusal.detail}"
            if isinstance(refusal, NotFound):
                tick.reason += " The cron is disabled."
                Cron.objects.filter(pk=cron.pk).update(enabled=False)
        else:
            tick.run_id, tick.thread_id = made.run_id, made.thread_id
    tick.save(force_insert=True)
    return Outcome(tick.outcome)


def _last_run_if_going(cron: Cron) -> UUID | None:
    ticks = CronTick.objects.filter(cron_id=cron.pk, run_id__isnull=False).order_by("-due_at")
    last = ticks.values_list("run_id", flat=True).first()
    return last if last and Run.objects.filter(run_id=last, status__in=IN_FLIGHT).exists() else None


def _record_missed(cron: Cron, missed: list[Missed], now: datetime) -> None:
    ticks = [
        CronTick(cron=cron, due_at=one.due, outcome=Outcome.MISSED, reason=one.reason, fired_at=now) for one in missed
    ]
    CronTick.objects.bulk_create(ticks, ignore_conflicts=True)


def _give_up(
    cron: Cron, now: datetime, reason: str, *, following: datetime | None, enabled: bool = True
) -> "Outcome | None":
    """Move on from a due time without a run."""
    with transaction.atomic():
        if not _take(cron, following):
            return None
        if not enabled:
            Cron.objects.filter(pk=cron.pk).update(enabled=False)
        tick = CronTick(cron=cron, due_at=_due(cron), outcome=Outcome.SKIPPED, reason=reason, fired_at=now)
        CronTick.objects.bulk_create([tick], ignore_conflicts=True)
    return Outcome.SKIPPED


def crons_set_back(
    now: datetime, after: UUID | None
) -> tuple[list[tuple[UUID, datetime | None, datetime]], UUID | None]:
    """Crons whose next due time lies later than it should: with it, and with the right one. Then where to go on."""
    is_over = Q(next_run_date=None, ends_at__gt=now)
    waiting = Cron.objects.filter(Q(next_run_date__gt=now) | is_over, enabled=True).order_by("cron_id")
    if after is not None:
        waiting = waiting.filter(cron_id__gt=after)
    crons = list(waiting.only("schedule", "timezone", "ends_at", "next_run_date")[:REALIGNED])
    found = []
    for cron in crons:
        try:
            right = next_due(parse(cron.schedule, cron.timezone), cron.ends_at, now)
        except ScheduleError:
            # It is told when it is due.
            continue
        if right is not None and (cron.next_run_date is None or right < cron.next_run_date):
            found.append((cron.cron_id, cron.next_run_date, right))
    return found, crons[-1].cron_id if len(crons) == REALIGNED else None


def realign(cron_id: UUID, due: datetime | None, earlier: datetime) -> None:
    """Let a cron be due earlier, unless it was changed meanwhile."""
    Cron.objects.filter(pk=cron_id, next_run_date=due).update(next_run_date=earlier)

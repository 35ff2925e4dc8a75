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
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from crons.models import Cron, CronTick, OverlapPolicy
from crons.policy import Missed, plan
from crons.schedule import ScheduleError, parse
from crons.services import lock_targets, next_due, run_make
from platform_site.core.database import in_db, read_db
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

    async def round(self) -> float | None:
        """Fire what is due; seconds until something is due again, None if nothing is."""
        await self.fire_due(timezone.now())
        due = await read_db(next_due_date)
        return None if due is None else max(0.0, (due - timezone.now()).total_seconds())

    async def fire_due(self, now: datetime) -> int:
        """Fire every cron that is due at `now`; how many runs were made. A cron that fails holds up no other."""
        if self._looked is None or now < self._looked:
            await self._realign(now)
        self._looked = now
        made, failures = 0, []
        after: tuple[datetime, UUID] | None = None
        while batch := await read_db(due_crons, now, after):
            firing = [in_db(fire, cron_id, due, now) for due, cron_id in batch]
            for outcome in await asyncio.gather(*firing, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    failures.append(outcome)
                else:
                    made += outcome is Outcome.FIRED
            after = batch[-1]
        if failures:
            raise failures[0]
        return made

    async def _realign(self, now: datetime) -> None:
        after: UUID | None = None
        while True:
            early, after = await read_db(crons_set_back, now, after)
            for cron_id, due, earlier in early:
                await in_db(realign, cron_id, due, earlier)
            if after is None:
                return


def next_due_date() -> datetime | None:
    """When a cron is due next."""
    due = Cron.objects.filter(enabled=True, next_run_date__isnull=False).order_by("next_run_date")
    return due.values_list("next_run_date", flat=True).first()


def due_crons(now: datetime, after: tuple[datetime, UUID] | None) -> list[tuple[datetime, UUID]]:
    """Crons that are due, those that are due for longest first; a batch of those that come `after` one."""
    due = Cron.objects.filter(enabled=True, next_run_date__lte=now)
    if after is not None:
        due = due.filter(Q(next_run_date__gt=after[0]) | Q(next_run_date=after[0], cron_id__gt=after[1]))
    batch = due.order_by("next_run_date", "cron_id")[:BATCH]
    return [(cron.next_run_date, cron.cron_id) for cron in batch.only("next_run_date") if cron.next_run_date]


def fire(cron_id: UUID, due: datetime, now: datetime) -> "Outcome | None":
    """Do what is to be done at `now` about a cron that is due since `due`; None if somebody else has.

    Whatever goes wrong with this cron becomes the reason of its tick; what the database cannot do is raised.
    """
    cron = Cron.objects.filter(pk=cron_id, enabled=True, next_run_date=due).first()
    if cron is None:
        return None
    try:
        return _fire(cron, due, now)
    except ScheduleError as error:
        # Its zone is not known any more, or somebody wrote into the table.
        return _give_up(cron, due, now, f"{error} The cron is disabled.", following=None)
    except Exception as error:
        logger.exception("cron %s could not be fired", cron_id)
        following = next_due(parse(cron.schedule, cron.timezone), cron.ends_at, now)
        return _give_up(cron, due, now, f"It could not be fired: {type(error).__name__}: {error}", following=following)


def _fire(cron: Cron, due: datetime, now: datetime) -> "Outcome | None":
    schedule = parse(cron.schedule, cron.timezone)
    grace = timedelta(seconds=settings.CRON_GRACE_SECONDS)
    planned = plan(schedule, due, now, ends_at=cron.ends_at, policy=cron.misfire_policy, grace=grace)
    following = next_due(schedule, cron.ends_at, now)
    with transaction.atomic():
        lock_targets(cron.assistant_id, cron.thread_id)
        if not _take(cron, due, following):
            return None
        _record_missed(cron, planned.missed, now)
        if planned.fired is None:
            return Outcome.MISSED
        # There is one if the clock was set back. What a clock that was ahead has missed is not missed any more.
        before = CronTick.objects.filter(cron=cron, due_at=planned.fired).first()
        if before is not None:
            if before.outcome != Outcome.MISSED:
                return None
            before.delete()
        return _run(cron, planned.fired, planned.reason, now)


def _take(cron: Cron, due: datetime, following: datetime | None) -> bool:
    """Move the cron on; False if somebody else has, or has changed or paused it."""
    unchanged = Cron.objects.filter(pk=cron.pk, enabled=True, next_run_date=due, updated_at=cron.updated_at)
    return bool(unchanged.update(next_run_date=following))


def _run(cron: Cron, due: datetime, reason: str, now: datetime) -> "Outcome":
    """Make the run of a due time, or say why there is none."""
    tick = CronTick(cron=cron, due_at=due, outcome=Outcome.FIRED, reason=reason, fired_at=now)
    if cron.overlap_policy == OverlapPolicy.SKIP and _is_going(cron.last_run_id):
        tick.outcome = Outcome.SKIPPED
        tick.reason = f"The cron's last run, {cron.last_run_id}, is still going, and its overlap_policy is to skip."
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
            Cron.objects.filter(pk=cron.pk).update(last_run_id=made.run_id)
    tick.save(force_insert=True)
    return Outcome(tick.outcome)


def _is_going(run_id: UUID | None) -> bool:
    return run_id is not None and Run.objects.filter(run_id=run_id, status__in=IN_FLIGHT).exists()


def _record_missed(cron: Cron, missed: list[Missed], now: datetime) -> None:
    ticks = [
        CronTick(cron=cron, due_at=one.due, outcome=Outcome.MISSED, reason=one.reason, fired_at=now) for one in missed
    ]
    CronTick.objects.bulk_create(ticks, ignore_conflicts=True)


def _give_up(cron: Cron, due: datetime, now: datetime, reason: str, *, following: datetime | None) -> "Outcome | None":
    """Move on from a due time without a run; without a following one for good."""
    with transaction.atomic():
        if not _take(cron, due, following):
            return None
        if following is None:
            Cron.objects.filter(pk=cron.pk).update(enabled=False)
        tick = CronTick(cron=cron, due_at=due, outcome=Outcome.SKIPPED, reason=reason, fired_at=now)
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
    crons = list(waiting[:REALIGNED])
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

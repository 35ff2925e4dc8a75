"""How long the history of crons is kept."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count, QuerySet
from django.utils import timezone

from crons.models import CronTick
from platform_site.core.database.access import Portion, in_db, read_db
from runs.models import IN_FLIGHT, Run

INTERVAL = 3600.0
# Ticks that are deleted in one transaction.
PORTION = 2000


async def sweep_ticks() -> None:
    """Delete ticks older than `CRON_TICK_RETENTION_DAYS`, and of each cron those beyond the last `CRON_TICKS_KEPT`.

    The tick of a run that is going stays, however old: `overlap_policy` asks for it.
    """
    now = timezone.now()
    while await in_db(delete_old_ticks, now) == PORTION:
        pass
    for cron_id in await read_db(crons_with_many_ticks):
        while await in_db(delete_surplus_ticks, cron_id) == PORTION:
            pass


def delete_old_ticks(now: datetime) -> int:
    """Delete a portion of the ticks that are too old; how many."""
    horizon = now - timedelta(days=settings.CRON_TICK_RETENTION_DAYS)
    return _delete_over(CronTick.objects.filter(due_at__lt=horizon))


def crons_with_many_ticks() -> list[UUID]:
    """Crons that have more ticks than are kept."""
    counted = CronTick.objects.order_by().values("cron_id").annotate(ticks=Count("pk"))
    return list(counted.filter(ticks__gt=settings.CRON_TICKS_KEPT).values_list("cron_id", flat=True))


def delete_surplus_ticks(cron_id: UUID) -> int:
    """Delete a portion of all but the last ticks of a cron; how many."""
    ticks = CronTick.objects.filter(cron_id=cron_id).order_by("-due_at")
    last = ticks.values_list("due_at", flat=True)[settings.CRON_TICKS_KEPT : settings.CRON_TICKS_KEPT + 1].first()
    return 0 if last is None else _delete_over(CronTick.objects.filter(cron_id=cron_id, due_at__lte=last))


def _delete_over(ticks: "QuerySet[CronTick]") -> int:
    over = ticks.exclude(run_id__in=Run.objects.filter(status__in=IN_FLIGHT).values("run_id"))
    portion = Portion(PORTION)
    portion.delete(over.order_by())
    return PORTION - portion.left

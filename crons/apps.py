"""Connects crons to what they hear of from the layers below."""

from uuid import UUID

from django.apps import AppConfig

from platform_site.core.database.access import Portion
from platform_site.core.hooks import assistant_deleting, assistant_purging, threads_purging


def _delete_crons(workspace_id: int, assistant_id: UUID) -> None:
    from crons.models import Cron

    Cron.objects.filter(workspace_id=workspace_id, assistant_id=assistant_id).delete()


def _purge_history(workspace_id: int, assistant_id: UUID, portion: Portion) -> None:
    from crons.models import Cron, CronTick

    crons = Cron.objects.filter(workspace_id=workspace_id, assistant_id=assistant_id)
    # So that no history is added meanwhile.
    crons.filter(enabled=True).update(enabled=False)
    portion.delete(CronTick.objects.filter(cron__in=crons).order_by())


def _purge_crons(thread_ids: list[UUID], portion: Portion) -> None:
    from crons.models import Cron, CronTick

    portion.delete(CronTick.objects.filter(cron__thread_id__in=thread_ids).order_by())
    if not portion.is_used_up:
        portion.delete(Cron.objects.filter(thread_id__in=thread_ids))


class CronsConfig(AppConfig):
    name = "crons"

    def ready(self) -> None:
        assistant_purging.connect(_purge_history)
        assistant_deleting.connect(_delete_crons)
        threads_purging.connect(_purge_crons)

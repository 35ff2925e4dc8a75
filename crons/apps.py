"""Connects crons to what they hear of from the layers below."""

from uuid import UUID

from django.apps import AppConfig

from platform_site.core.hooks import assistant_deleting


def _delete_crons(workspace_id: int, assistant_id: UUID) -> None:
    from crons.models import Cron

    Cron.objects.filter(workspace_id=workspace_id, assistant_id=assistant_id).delete()


class CronsConfig(AppConfig):
    name = "crons"

    def ready(self) -> None:
        assistant_deleting.connect(_delete_crons)

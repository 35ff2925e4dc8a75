"""What the thread pages read, always through the principal."""

from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet

from platform_site.access.principal import Principal
from threads.models import Thread, ThreadStatus

PER_PAGE = 50
STATUSES = {
    "idle": ThreadStatus.IDLE,
    "running": ThreadStatus.BUSY,
    "interrupted": ThreadStatus.INTERRUPTED,
    "failed": ThreadStatus.ERROR,
}


def _threads(principal: Principal) -> QuerySet[Thread]:
    return Thread.objects.filter(workspace_id=principal.workspace_id).defer(
        "values", "metadata", "config", "interrupts", "error"
    )

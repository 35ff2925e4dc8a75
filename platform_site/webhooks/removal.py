"""What deletes deliveries: the delete of their run or thread, and their age. Each function runs in a database thread.

A delivery that is still owed when its run or thread is deleted is sent all the same, and its row is deleted afterwards.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from platform_site.core.database.access import Portion
from platform_site.webhooks.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from runs.models import Run

# Deliveries whose rows are looked for together.
PURGED_TOGETHER = 200
_OWED = Q(status__in=(DeliveryStatus.PENDING, DeliveryStatus.DELIVERING))


def deliveries_of_run_forget(run: Run) -> None:
    """Delete what was sent of a run that is deleted in this transaction."""
    if run.kwargs.get("webhook"):
        deliveries_forget(Q(run_id=run.run_id))


def deliveries_of_threads_disown(thread_ids: list[UUID]) -> None:
    """Mark what is still owed of threads that are deleted in this transaction: its rows are deleted once it is sent."""
    _disown(Q(thread_id__in=thread_ids))


def deliveries_of_threads_purge(thread_ids: list[UUID], portion: Portion) -> None:
    """Delete a portion of what was sent of deleted threads."""
    while not portion.is_used_up:
        found = list(_settled(Q(thread_id__in=thread_ids)).values_list("pk", flat=True)[:PURGED_TOGETHER])
        if not found:
            return
        portion.delete(WebhookAttempt.objects.filter(delivery__in=found).order_by())
        if not portion.is_used_up:
            portion.delete(WebhookDelivery.objects.filter(pk__in=found))


def deliveries_forget(where: Q) -> None:
    """Delete those of these deliveries that were sent, and mark the others to be deleted once they are sent."""
    # In this order: a delivery that is settled at this moment either sees the mark or is deleted with the others.
    _disown(where)
    # Django reads the rows that it deletes. A thread may have thousands, and their bodies are not needed.
    _settled(where).only("pk").delete()


def _disown(where: Q) -> None:
    WebhookDelivery.objects.filter(where, _OWED).update(is_forgotten=True)


def _settled(where: Q) -> "QuerySet[WebhookDelivery]":
    return WebhookDelivery.objects.filter(where).exclude(_OWED)


def delete_old(now: datetime, limit: int = 500) -> int:
    """Delete up to `limit` deliveries past WEBHOOK_RETENTION_DAYS, oldest first, and return how many.

    A delivery that is still owed stays.
    """
    horizon = now - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    old = WebhookDelivery.objects.filter(created_at__lt=horizon).exclude(_OWED)
    pks = list(old.order_by("created_at").values_list("pk", flat=True)[:limit])
    if pks:
        with transaction.atomic():
            WebhookDelivery.objects.filter(pk__in=pks).only("pk").delete()
    return len(pks)


def delete_old_endpoints(now: datetime) -> int:
    """Delete endpoints without a delivery for WEBHOOK_RETENTION_DAYS, and return how many. Disabled endpoints stay."""
    horizon = now - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    delivered = Q(last_delivered_at=None) | Q(last_delivered_at__lt=horizon)
    failed = Q(last_failed_at=None) | Q(last_failed_at__lt=horizon)
    return WebhookEndpoint.objects.filter(delivered, failed, disabled_at=None).delete()[0]

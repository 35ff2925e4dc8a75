"""The record of endpoints: which deliveries arrived or were given up, and when an endpoint is disabled for it.

An endpoint is a workspace's URL without its query. Each function runs in the transaction of its caller.
"""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from platform_site.core.telemetry import metrics
from platform_site.webhooks.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from platform_site.webhooks.retries import GONE


def endpoint_delivered(row: WebhookDelivery, now: datetime) -> None:
    """Note that a delivery arrived: earlier failures of its endpoint no longer count."""
    place = {"workspace_id": row.workspace_id, "digest": row.endpoint_digest}
    if not WebhookEndpoint.objects.filter(**place).update(failures=0, last_delivered_at=now):
        WebhookEndpoint.objects.get_or_create(**place, defaults={"address": row.address, "last_delivered_at": now})


def endpoint_failed(row: WebhookDelivery, now: datetime) -> None:
    """Note that a delivery was given up, and disable its endpoint if too many were in a row or the endpoint is gone."""
    place = {"workspace_id": row.workspace_id, "digest": row.endpoint_digest}
    endpoint, _ = WebhookEndpoint.objects.select_for_update().get_or_create(**place, defaults={"address": row.address})
    endpoint.failures += 1
    endpoint.last_failed_at = now
    reason = ""
    if row.response_status == GONE:
        reason = row.error
    elif 0 < settings.WEBHOOK_DISABLE_AFTER <= endpoint.failures:
        reason = f"{endpoint.failures} deliveries in a row were given up. The last one: {row.error}"
    endpoint.save()
    if reason and endpoint.disabled_at is None:
        disable(endpoint, f"Disabled automatically. {reason}", now)


def disable(endpoint: WebhookEndpoint, reason: str, now: datetime) -> None:
    """Disable the endpoint, which the caller has locked, and hold back what it is owed."""
    endpoint.disabled_at, endpoint.disabled_reason = now, reason
    endpoint.save(update_fields=["disabled_at", "disabled_reason"])
    # Skipped rows are being claimed right now; the claim holds them back.
    pending = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
        workspace_id=endpoint.workspace_id, endpoint_digest=endpoint.digest, status=DeliveryStatus.PENDING
    )
    held = list(pending.values_list("pk", flat=True))
    for start in range(0, len(held), 500):
        hold_back(held[start : start + 500], reason)


def hold_back(pks: list[int], reason: str) -> None:
    """Hold these deliveries back until their endpoint is enabled."""
    WebhookDelivery.objects.filter(pk__in=pks).update(status=DeliveryStatus.HELD, error=reason)
    count("held", len(pks))


def count(outcome: str, deliveries: int = 1) -> None:
    """Add to the metric of outcomes when the transaction commits."""
    if deliveries:
        transaction.on_commit(lambda: metrics.WEBHOOKS.labels(outcome).inc(deliveries), robust=True)

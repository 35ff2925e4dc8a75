"""Reads of webhooks, through the principal, for lists and pages of people; and the backlog of all workspaces."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Min, QuerySet
from django.utils import timezone

from platform_site.access.principal import Principal
from platform_site.core.errors import NotFound
from platform_site.webhooks.models import DeliveryStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from platform_site.webhooks.signatures import secrets_of


def delivery_list(
    principal: Principal,
    *,
    status: str = "",
    run_id: UUID | None = None,
    endpoint: WebhookEndpoint | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[WebhookDelivery]:
    """Return deliveries of the workspace without their bodies, newest first."""
    found = WebhookDelivery.objects.filter(workspace_id=principal.workspace_id).defer("body").order_by("-pk")
    if status:
        found = found.filter(status=status)
    if run_id is not None:
        found = found.filter(run_id=run_id)
    if endpoint is not None:
        found = found.filter(endpoint_digest=endpoint.digest)
    return list(found[offset : offset + limit])


def delivery_get(principal: Principal, delivery_id: UUID) -> tuple[WebhookDelivery, list[WebhookAttempt]]:
    """Return a delivery with its body, and its attempts, oldest first. Raises `NotFound`."""
    found = WebhookDelivery.objects.filter(delivery_id=delivery_id, workspace_id=principal.workspace_id).first()
    if found is None:
        raise NotFound("Delivery not found")
    return found, list(found.log.all())


def endpoint_list(principal: Principal) -> "QuerySet[WebhookEndpoint]":
    """Return the endpoints of the workspace, the disabled ones first."""
    found = WebhookEndpoint.objects.filter(workspace_id=principal.workspace_id)
    return found.order_by(F("disabled_at").desc(nulls_last=True), "-pk")


def secrets_in_force(principal: Principal) -> list[str]:
    """Return the secrets that sign the workspace's webhooks now, the newest first."""
    return secrets_of([principal.workspace_id], timezone.now())[principal.workspace_id]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries of all workspaces that have not arrived yet."""

    pending: int
    held: int
    oldest_seconds: float


def webhook_backlog(now: datetime | None = None) -> Backlog:
    """Return how many deliveries wait, and for how many seconds the oldest has."""
    # A query for each status, because each has its index.
    waiting, sent, held = (
        WebhookDelivery.objects.filter(status=status).aggregate(count=Count("pk"), oldest=Min("created_at"))
        for status in (DeliveryStatus.PENDING, DeliveryStatus.DELIVERING, DeliveryStatus.HELD)
    )
    oldest = min((found["oldest"] for found in (waiting, sent) if found["oldest"]), default=None)
    waited = ((now or timezone.now()) - oldest).total_seconds() if oldest else 0.0
    return Backlog(waiting["count"] + sent["count"], held["count"], waited)

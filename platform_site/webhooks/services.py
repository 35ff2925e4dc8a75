"""What people do with webhooks: send one again, enable and disable an endpoint, roll the secret."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from platform_site.access.models import Workspace
from platform_site.access.principal import Principal
from platform_site.access.services import actor_of, audit
from platform_site.core.background.tasks import background
from platform_site.core.errors import Conflict, Forbidden, NotFound
from platform_site.webhooks.endpoints import disable
from platform_site.webhooks.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint, WebhookSecret
from platform_site.webhooks.outbox import TASK
from platform_site.webhooks.signatures import derived_secret

# How long a rolled secret signs beside the new one.
ROLL_HOURS = 24
FROM_ENVIRONMENT = "The secrets come from the environment (WEBHOOK_SECRETS); roll them there: the new one first."


def _check(principal: Principal) -> None:
    if not principal.can_write:
        raise Forbidden


def delivery_redeliver(principal: Principal, delivery_id: UUID) -> None:
    """Send a delivery again as if it were new, with the same `webhook-id`.

    A delivery that waits for its next attempt is sent now. Raises `NotFound`, and `Conflict` while the delivery is
    being sent or its endpoint is disabled.
    """
    _check(principal)
    now = timezone.now()
    with transaction.atomic():
        row = (
            WebhookDelivery.objects.select_for_update()
            .defer("body")
            .filter(delivery_id=delivery_id, workspace_id=principal.workspace_id)
            .first()
        )
        if row is None:
            raise NotFound("Delivery not found")
        if row.status == DeliveryStatus.DELIVERING:
            raise Conflict("The delivery is being sent right now")
        endpoints = WebhookEndpoint.objects.filter(workspace_id=row.workspace_id, digest=row.endpoint_digest)
        if endpoints.filter(disabled_at__isnull=False).exists():
            raise Conflict("Its endpoint is disabled; enable it first")
        _due_again(WebhookDelivery.objects.filter(pk=row.pk), now)
        audit(principal.workspace_id, actor_of(principal), "webhook.redeliver", str(delivery_id))


def _due_again(deliveries: "QuerySet[WebhookDelivery]", now: datetime) -> int:
    due = deliveries.update(
        status=DeliveryStatus.PENDING, next_attempt_at=now, failing_since=None, failures=0, settled_at=None, error=""
    )
    transaction.on_commit(lambda: background().wake(TASK), robust=True)
    return int(due)


def endpoint_enable(principal: Principal, endpoint_id: int) -> int:
    """Deliver to the endpoint again, and return how many deliveries were held back and are sent now.

    Raises `NotFound`.
    """
    _check(principal)
    with transaction.atomic():
        endpoint = _endpoint(principal, endpoint_id)
        endpoint.disabled_at, endpoint.disabled_reason, endpoint.failures = None, "", 0
        endpoint.save()
        held = WebhookDelivery.objects.filter(
            workspace_id=endpoint.workspace_id, endpoint_digest=endpoint.digest, status=DeliveryStatus.HELD
        )
        count = _due_again(held, timezone.now())
        audit(principal.workspace_id, actor_of(principal), "webhook.enable", endpoint.address, deliveries=count)
    return count


def endpoint_disable(principal: Principal, endpoint_id: int, reason: str = "") -> None:
    """Hold back what the endpoint is owed until it is enabled. Raises `NotFound`."""
    _check(principal)
    with transaction.atomic():
        endpoint = _endpoint(principal, endpoint_id)
        if endpoint.disabled_at is None:
            by = actor_of(principal) or "somebody"
            disable(endpoint, f"Disabled by {by}. {reason}".strip(), timezone.now())
            audit(principal.workspace_id, actor_of(principal), "webhook.disable", endpoint.address, reason=reason)


def _endpoint(principal: Principal, endpoint_id: int) -> WebhookEndpoint:
    found = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint_id, workspace_id=principal.workspace_id)
    if (endpoint := found.first()) is None:
        raise NotFound("Endpoint not found")
    return endpoint


def secret_roll(principal: Principal | None, workspace: Workspace) -> str:
    """Make a new signing secret for the workspace and return it; the secret before it signs on for `ROLL_HOURS`.

    None as principal is the operator at the command line. Raises `Conflict` where the environment has the secrets.
    """
    if principal is not None:
        _check(principal)
    if settings.WEBHOOK_SECRETS:
        raise Conflict(FROM_ENVIRONMENT)
    now = timezone.now()
    end = now + timedelta(hours=ROLL_HOURS)
    with transaction.atomic():
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        rolled = WebhookSecret.objects.filter(workspace=workspace, expires_at=None).update(expires_at=end)
        if not rolled and not WebhookSecret.objects.filter(workspace=workspace).exists():
            # The secret of the empty salt has no row as long as it is the only one.
            WebhookSecret.objects.create(workspace=workspace, expires_at=end)
        made = WebhookSecret.objects.create(workspace=workspace, salt=secrets.token_hex(16))
        audit(workspace.pk, actor_of(principal), "webhook.roll_secret", workspace.slug)
    return derived_secret(workspace.pk, made.salt)

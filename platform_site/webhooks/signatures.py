"""Signatures of webhooks by the Standard Webhooks specification, and the secrets that make them."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils.crypto import salted_hmac
from standardwebhooks.webhooks import Webhook

from platform_site.webhooks.models import WebhookSecret


def message_id(delivery_id: UUID) -> str:
    """Return the `webhook-id`, which is the same for all attempts of a delivery."""
    return f"msg_{delivery_id.hex}"


def signed_headers(delivery_id: UUID, body: str, secrets: Iterable[str], now: datetime) -> dict[str, str]:
    """Return `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which has a signature by each secret."""
    identity, moment = message_id(delivery_id), now.astimezone(UTC)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(identity, moment, body) for secret in secrets),
    }


def derived_secret(workspace_id: int, salt: str) -> str:
    """Derive the secret of a workspace and a salt from SECRET_KEY. The secret is stored nowhere."""
    digest = salted_hmac("switchyard.webhooks", f"{workspace_id} {salt}", algorithm="sha256").digest()
    return "whsec_" + base64.b64encode(digest).decode()


def secrets_of(workspace_ids: Iterable[int], now: datetime) -> dict[int, list[str]]:
    """Return for each workspace the secrets that sign its webhooks now, the newest first."""
    wanted = set(workspace_ids)
    if settings.WEBHOOK_SECRETS:
        return {workspace_id: list(settings.WEBHOOK_SECRETS) for workspace_id in wanted}
    found: dict[int, list[str]] = {workspace_id: [] for workspace_id in wanted}
    valid = WebhookSecret.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), workspace__in=wanted)
    for workspace_id, salt in valid.order_by("-pk").values_list("workspace_id", "salt"):
        found[workspace_id].append(derived_secret(workspace_id, salt))
    return {workspace_id: secrets or [derived_secret(workspace_id, "")] for workspace_id, secrets in found.items()}

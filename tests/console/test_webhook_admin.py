"""Webhooks in the admin: sent again, endpoints enabled and disabled, secrets never shown."""

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from platform_site.access.models import AuditEntry
from platform_site.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookSecret
from platform_site.webhooks.services import secret_roll
from tests.webhooks.conftest import deliver_to

URL = "https://hooks.example.com/x?token=1"


@pytest.fixture
def failed(yard: Any) -> WebhookDelivery:
    return deliver_to(yard.workspace, URL, timezone.now(), status="failed", error="The receiver answered 500.")


@pytest.fixture
def endpoint(yard: Any, failed: WebhookDelivery) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(
        workspace=yard.workspace, digest=failed.endpoint_digest, address=failed.address
    )


def act(admin: Any, model: str, action: str, *pks: int) -> str:
    answer = admin.post(
        reverse(f"admin:webhooks_{model}_changelist"), {"action": action, "_selected_action": pks}, follow=True
    )
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_delivery_is_sent_again(admin: Any, failed: WebhookDelivery) -> None:
    assert "1 on their way again." in act(admin, "webhookdelivery", "redeliver", failed.pk)
    failed.refresh_from_db()
    assert (failed.status, failed.error) == ("pending", "")
    assert AuditEntry.objects.filter(action="webhook.redeliver").exists()


def test_delivery_that_cannot_be_sent_again_says_why(admin: Any, failed: WebhookDelivery) -> None:
    WebhookDelivery.objects.update(status="delivering")
    page = act(admin, "webhookdelivery", "redeliver", failed.pk)
    assert "The delivery is being sent right now" in page
    assert "0 on their way again." in page


def test_endpoint_is_disabled_and_enabled(admin: Any, failed: WebhookDelivery, endpoint: WebhookEndpoint) -> None:
    WebhookDelivery.objects.update(status="pending")
    act(admin, "webhookendpoint", "disable", endpoint.pk)
    failed.refresh_from_db()
    assert failed.status == "held"
    assert failed.error.startswith("Disabled by ")
    assert "Held back, and on their way now: 1." in act(admin, "webhookendpoint", "enable", endpoint.pk)
    failed.refresh_from_db()
    assert failed.status == "pending"


def test_reason_is_in_the_list(admin: Any, endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(disabled_at=timezone.now(), disabled_reason="Disabled automatically. It is gone.")
    page = admin.get(reverse("admin:webhooks_webhookendpoint_changelist")).content.decode()
    assert "Disabled automatically. It is gone." in page
    assert "token=1" not in page


def test_secret_and_its_salt_are_never_shown(admin: Any, yard: Any) -> None:
    made = secret_roll(None, yard.workspace)
    for row in WebhookSecret.objects.all():
        page = admin.get(reverse("admin:webhooks_webhooksecret_change", args=[row.pk])).content.decode()
        assert made not in page
        assert not row.salt or row.salt not in page

"""Questions about deliveries do not read those that have arrived: they stay for a month. The plans are SQLite's."""

import pytest
from django.db.models import Count, Min

from runs.models import WebhookDelivery
from tests.runs.webhooks.conftest import Clock

DELIVERIES = WebhookDelivery.objects
NOW = Clock().now


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (DELIVERIES.filter(status="pending", next_attempt_at__lte=NOW).order_by("next_attempt_at"), "delivery_due"),
        (DELIVERIES.filter(status="delivering", lease_expires_at__lt=NOW), "delivery_leased"),
        (DELIVERIES.filter(status="held", workspace_id=1, endpoint_digest="d"), "delivery_"),
        (DELIVERIES.filter(status="held").values("status").annotate(count=Count("pk")), "delivery_held"),
        (DELIVERIES.filter(status="pending").values("status").annotate(oldest=Min("created_at")), "delivery_owed"),
        (DELIVERIES.filter(workspace_id=1).order_by("-pk")[:50], "delivery_"),
        (DELIVERIES.filter(thread_id="00000000-0000-0000-0000-000000000000"), "delivery_of_thread"),
    ],
    ids=["due", "leased", "held of an endpoint", "held", "oldest", "list", "thread"],
)
def test_index_is_used(rows, index):
    assert f"INDEX {index}" in rows.explain()

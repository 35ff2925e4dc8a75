"""Questions about deliveries do not read those that have arrived: they stay for a month. The plans are SQLite's."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from platform_site.webhooks.models import WebhookDelivery
from platform_site.webhooks.selectors import webhook_backlog
from tests.webhooks.conftest import Clock

DELIVERIES = WebhookDelivery.objects
NOW = Clock().now


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (DELIVERIES.filter(status="pending", next_attempt_at__lte=NOW).order_by("next_attempt_at"), "delivery_due"),
        (DELIVERIES.filter(status="delivering", lease_expires_at__lt=NOW), "delivery_leased"),
        (DELIVERIES.filter(status="held", workspace_id=1, endpoint_digest="d"), "delivery_"),
        (DELIVERIES.filter(workspace_id=1).order_by("-pk")[:50], "delivery_"),
        (DELIVERIES.filter(thread_id="00000000-0000-0000-0000-000000000000"), "delivery_of_thread"),
    ],
    ids=["due", "leased", "held", "list", "thread"],
)
def test_index_is_used(rows, index):
    assert f"INDEX {index}" in rows.explain()


@pytest.mark.django_db
def test_figures_use_an_index_for_each_status():
    with CaptureQueriesContext(connection) as asked:
        webhook_backlog()
    plans = []
    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plans.append(str(cursor.fetchall()))
    for index, plan in zip(("delivery_owed", "delivery_leased", "delivery_held"), plans, strict=True):
        assert f"INDEX {index}" in plan

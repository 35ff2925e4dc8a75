"""Endpoints that do not work are disabled, visibly; nothing that they are owed is lost."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Q

from platform_site.access.models import AuditEntry, Workspace
from platform_site.access.principal import Role
from platform_site.core.database.access import in_db
from platform_site.core.errors import Conflict, Forbidden, NotFound
from platform_site.webhooks import claims
from platform_site.webhooks.deliverer import Deliverer
from platform_site.webhooks.models import WebhookDelivery, WebhookEndpoint
from platform_site.webhooks.removal import deliveries_forget
from platform_site.webhooks.retries import Answer
from platform_site.webhooks.selectors import delivery_get, delivery_list, endpoint_list, webhook_backlog
from platform_site.webhooks.services import delivery_redeliver, endpoint_disable, endpoint_enable
from tests.webhooks.conftest import Clock, again, deliver_to, owe, work
from tests.webhooks.receiving import Receiver, answers

pytestmark = pytest.mark.usefixtures("loopback")


async def endpoint() -> WebhookEndpoint:
    return await in_db(WebhookEndpoint.objects.get)


async def give_up(
    workspace: Workspace, clock: Clock, deliverer: Deliverer, receiver: Receiver, count: int
) -> list[WebhookDelivery]:
    """So many deliveries that are tried for a day in vain."""
    deliveries = [await owe(workspace, receiver.url, clock.now) for _ in range(count)]
    for _ in range(60):
        await work(deliverer)
        clock.pass_by(hours=1)
    return deliveries


@pytest.fixture
def quick(settings):
    """Two attempts for each delivery."""
    settings.WEBHOOK_RETRY_HOURS = 1
    settings.WEBHOOK_DISABLE_AFTER = 3


async def test_endpoint_is_disabled_when_too_many_in_a_row_are_given_up(quick, workspace, clock, deliverer, receiver):
    receiver.then = answers(500)
    await give_up(workspace, clock, deliverer, receiver, 2)
    found = await endpoint()
    assert (found.failures, found.disabled_at) == (2, None)
    await give_up(workspace, clock, deliverer, receiver, 1)
    found = await endpoint()
    assert found.disabled_at is not None
    assert found.disabled_reason == (
        "Disabled automatically. 3 deliveries in a row were given up. The last one: The receiver answered 500."
    )
    assert found.address == f"http://127.0.0.1:{receiver.port}/hook"


async def test_delivery_that_arrives_forgives_what_failed_before(quick, workspace, clock, deliverer, receiver):
    receiver.then = answers(500)
    await give_up(workspace, clock, deliverer, receiver, 2)
    receiver.then = answers(200)
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    assert (await endpoint()).failures == 0
    receiver.then = answers(500)
    await give_up(workspace, clock, deliverer, receiver, 2)
    assert (await endpoint()).disabled_at is None


async def test_receiver_that_is_gone_is_disabled_at_once(workspace, clock, deliverer, receiver):
    receiver.then = answers(410)
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    assert (await endpoint()).disabled_reason.startswith("Disabled automatically. The receiver answered 410")


async def test_zero_never_disables(quick, workspace, clock, deliverer, receiver, settings):
    settings.WEBHOOK_DISABLE_AFTER = 0
    receiver.then = answers(500)
    await give_up(workspace, clock, deliverer, receiver, 4)
    assert (await endpoint()).disabled_at is None


async def test_what_a_disabled_endpoint_is_owed_is_held_back_and_sent_when_it_is_enabled(
    owner, workspace, clock, deliverer, receiver
):
    receiver.script = [answers(500), answers(410)]
    waiting = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    gone = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    new = await owe(workspace, receiver.url, clock.now)
    clock.pass_by(hours=1)
    await work(deliverer)
    assert len(receiver.received) == 2
    for held in (waiting, new):
        row = await again(held)
        assert row.status == "held"
        assert row.error.startswith("Disabled automatically.")
    assert await in_db(endpoint_enable, owner, (await endpoint()).pk) == 2
    clock.pass_by(hours=1)
    await work(deliverer)
    assert [(await again(row)).status for row in (gone, waiting, new)] == ["failed", "delivered", "delivered"]
    assert (await endpoint()).disabled_reason == ""


@pytest.mark.parametrize("status", [200, 410])
async def test_delivery_that_was_not_allowed_at_its_end_belongs_to_no_endpoint(
    workspace, clock, deliverer, receiver, status
):
    receiver.then = answers(status)
    await owe(workspace, receiver.url, clock.now, host="", address="", endpoint_digest="")
    await work(deliverer)
    assert len(receiver.received) == 1
    assert not await in_db(WebhookEndpoint.objects.exists)


async def test_other_endpoints_of_the_host_are_not_disabled(workspace, clock, deliverer, receiver):
    receiver.script = [answers(410)]
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    other = await owe(workspace, receiver.url.replace("/hook", "/other"), clock.now)
    await work(deliverer)
    assert (await again(other)).status == "delivered"


async def test_endpoint_can_be_disabled_by_a_person(owner, workspace, clock, deliverer, receiver):
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    await in_db(endpoint_disable, owner, (await endpoint()).pk, "maintenance")
    held = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    row = await again(held)
    assert (row.status, row.error) == ("held", "Disabled by mara. maintenance")
    actions = await in_db(lambda: list(AuditEntry.objects.values_list("actor", "action", "target")))
    assert actions == [("mara", "webhook.disable", f"http://127.0.0.1:{receiver.port}/hook")]


async def test_delivery_can_be_sent_again(owner, workspace, clock, deliverer, receiver):
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    await in_db(delivery_redeliver, owner, delivery.delivery_id)
    clock.pass_by(minutes=1)
    await work(deliverer)
    first, second = receiver.received
    assert first.identity == second.identity
    row = await again(delivery)
    assert (row.status, row.attempts) == ("delivered", 2)


async def test_delivery_that_was_given_up_has_a_whole_day_again(quick, owner, workspace, clock, deliverer, receiver):
    receiver.then = answers(500)
    [delivery] = await give_up(workspace, clock, deliverer, receiver, 1)
    assert (await again(delivery)).status == "failed"
    await in_db(delivery_redeliver, owner, delivery.delivery_id)
    await work(deliverer)
    assert (await again(delivery)).status == "pending"


def test_delivery_that_is_being_sent_is_not_sent_again(owner, workspace, clock):
    delivery = deliver_to(workspace, "http://127.0.0.1/x", clock.now, status="delivering")
    with pytest.raises(Conflict, match="being sent"):
        delivery_redeliver(owner, delivery.delivery_id)


def test_delivery_of_a_disabled_endpoint_is_not_sent_again(owner, workspace, clock):
    delivery = deliver_to(workspace, "http://127.0.0.1/x", clock.now, status="held")
    WebhookEndpoint.objects.create(
        workspace=workspace, digest=delivery.endpoint_digest, address="x", disabled_at=clock.now
    )
    with pytest.raises(Conflict, match="disabled"):
        delivery_redeliver(owner, delivery.delivery_id)


def test_viewer_changes_nothing(owner, workspace, clock):
    viewer = replace(owner, role=Role.VIEWER)
    delivery = deliver_to(workspace, "http://127.0.0.1/x", clock.now, status="failed")
    place = WebhookEndpoint.objects.create(workspace=workspace, digest="d", address="x")
    with pytest.raises(Forbidden):
        delivery_redeliver(viewer, delivery.delivery_id)
    with pytest.raises(Forbidden):
        endpoint_disable(viewer, place.pk)
    with pytest.raises(Forbidden):
        endpoint_enable(viewer, place.pk)


def test_another_workspace_sees_and_changes_nothing(owner, workspace, clock):
    stranger = replace(owner, workspace_id=workspace.pk + 1)
    delivery = deliver_to(workspace, "http://127.0.0.1/x", clock.now)
    place = WebhookEndpoint.objects.create(workspace=workspace, digest="d", address="x")
    assert delivery_list(stranger) == []
    assert list(endpoint_list(stranger)) == []
    with pytest.raises(NotFound):
        delivery_get(stranger, delivery.delivery_id)
    with pytest.raises(NotFound):
        delivery_redeliver(stranger, delivery.delivery_id)
    with pytest.raises(NotFound):
        endpoint_enable(stranger, place.pk)


def test_lists_are_filtered_and_newest_first(owner, workspace, clock):
    rows = [
        deliver_to(workspace, f"http://127.0.0.1/{name}", clock.now, status=status)
        for name, status in (("a", "failed"), ("b", "delivered"), ("a", "delivered"))
    ]
    assert [row.pk for row in delivery_list(owner)] == [row.pk for row in reversed(rows)]
    assert [row.pk for row in delivery_list(owner, status="delivered")] == [rows[2].pk, rows[1].pk]
    assert [row.pk for row in delivery_list(owner, run_id=rows[1].run_id)] == [rows[1].pk]
    place = WebhookEndpoint.objects.create(workspace=workspace, digest=rows[0].endpoint_digest, address="x")
    assert [row.pk for row in delivery_list(owner, endpoint=place)] == [rows[2].pk, rows[0].pk]
    assert [row.pk for row in delivery_list(owner, limit=1, offset=1)] == [rows[1].pk]
    assert delivery_get(owner, rows[0].delivery_id) == (rows[0], [])


def test_disabled_endpoints_are_listed_first(owner, workspace, clock):
    for name, disabled in (("a", None), ("b", clock.now), ("c", None)):
        WebhookEndpoint.objects.create(workspace=workspace, digest=name, address=name, disabled_at=disabled)
    assert [row.address for row in endpoint_list(owner)] == ["b", "c", "a"]


def test_figures(workspace, clock):
    assert webhook_backlog(clock.now).oldest_seconds == 0
    for status in ("pending", "delivering", "held", "delivered", "failed"):
        deliver_to(workspace, "http://127.0.0.1/x", clock.now, status=status)
    clock.pass_by(seconds=30)
    figures = webhook_backlog(clock.now)
    assert (figures.pending, figures.held, figures.oldest_seconds) == (2, 1, 30)


async def test_unknown_delivery(owner):
    with pytest.raises(NotFound):
        await in_db(delivery_redeliver, owner, uuid4())


async def test_delivery_of_a_deleted_thread_is_sent_and_then_gone(workspace, clock, deliverer, receiver):
    owed = await owe(workspace, receiver.url, clock.now)
    sent = await owe(workspace, receiver.url, clock.now, status="delivered", thread_id=owed.thread_id)
    other = await owe(workspace, receiver.url, clock.now, status="delivered")
    await in_db(deliveries_forget, Q(thread_id__in=[owed.thread_id]))
    left = await in_db(lambda: set(WebhookDelivery.objects.values_list("pk", flat=True)))
    assert left == {owed.pk, other.pk} - {sent.pk}
    await work(deliverer)
    assert len(receiver.received) == 1
    assert await in_db(lambda: [row.pk for row in WebhookDelivery.objects.all()]) == [other.pk]


def test_delivery_that_arrives_while_its_thread_is_deleted_is_not_left_over(workspace, clock):
    delivery = deliver_to(workspace, "http://127.0.0.1/x", clock.now)
    [claimed] = claims.claim(clock.now, limit=1, per_host=1, busy={})

    def arrive(execute: Any, *statement: Any) -> Any:
        """After the first statement of the deletion somebody else writes down what came of the request."""
        done = execute(*statement)
        if not arrived:
            arrived.append(True)
            assert claims.record(claimed, clock.now, {}, Answer(status=200), clock.now)
        return done

    arrived: list[bool] = []
    with connection.execute_wrapper(arrive):
        deliveries_forget(Q(thread_id=delivery.thread_id))
    assert not WebhookDelivery.objects.exists()

"""The deliverer: what is owed arrives, whatever receivers do, and each attempt is in the log."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from platform_site.core.database.access import in_db
from platform_site.webhooks import claims, removal
from platform_site.webhooks import deliverer as deliverer_module
from platform_site.webhooks.addresses import Resolver
from platform_site.webhooks.deliverer import Deliverer
from platform_site.webhooks.models import WebhookDelivery, WebhookEndpoint
from platform_site.webhooks.retries import Answer
from platform_site.webhooks.signatures import derived_secret
from platform_site.webhooks.transport import Sender
from tests.webhooks.conftest import again, attempts, owe, work
from tests.webhooks.receiving import answers, raw, receiving

pytestmark = pytest.mark.usefixtures("loopback")


async def test_due_delivery_arrives_once(workspace, clock, deliverer, receiver):
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    await work(deliverer)
    [received] = receiver.received
    assert received.path == "/hook?tok=1"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert received.body == {"status": "success"}
    row = await again(delivery)
    assert (row.status, row.attempts, row.response_status, row.error) == ("delivered", 1, 200, "")
    assert row.settled_at == clock.now


async def test_signature_is_verified_by_the_public_library(workspace, clock, deliverer, receiver):
    delivery = await owe(workspace, receiver.url, clock.now, body='{"values":{"text":"grüße"}}')
    await work(deliverer)
    [received] = receiver.received
    assert received.verified(derived_secret(workspace.pk, ""))
    assert received.identity == f"msg_{delivery.delivery_id.hex}"


async def test_delivery_that_is_not_due_waits(workspace, clock, deliverer, receiver):
    from datetime import timedelta

    await owe(workspace, receiver.url, clock.now, next_attempt_at=clock.now + timedelta(seconds=60))
    assert await deliverer.round() == pytest.approx(60)
    assert receiver.received == []
    clock.pass_by(seconds=60)
    await work(deliverer)
    assert len(receiver.received) == 1


async def test_failed_delivery_is_sent_again_with_the_same_id_and_body(workspace, clock, deliverer, receiver):
    receiver.script = [answers(500, b"broken"), raw(b""), answers(302, Location="http://127.0.0.1:1/")]
    delivery = await owe(workspace, receiver.url, clock.now)
    for _ in range(4):
        await work(deliverer)
        clock.pass_by(hours=1)
    assert len(receiver.received) == 4
    assert len({received.identity for received in receiver.received}) == 1
    assert len({received.raw for received in receiver.received}) == 1
    row = await again(delivery)
    assert (row.status, row.attempts, row.failures) == ("delivered", 4, 0)
    log = await attempts(delivery)
    assert [entry.response_status for entry in log] == [500, None, 302, 200]
    assert log[0].response_body == "broken"
    assert log[1].error
    assert log[2].error == "The receiver answered 302, a redirect; redirects are never followed."


async def test_every_attempt_has_a_timestamp_and_a_signature_of_its_own(workspace, clock, deliverer, receiver):
    receiver.script = [answers(500)]
    await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    clock.pass_by(seconds=60)
    await work(deliverer)
    first, second = receiver.received
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 60
    assert second.verified(derived_secret(workspace.pk, ""))


async def test_delivery_is_given_up_after_a_day(workspace, clock, deliverer, receiver):
    receiver.then = answers(500)
    delivery = await owe(workspace, receiver.url, clock.now)
    for _ in range(100):
        await work(deliverer)
        clock.pass_by(minutes=30)
    row = await again(delivery)
    assert (row.status, row.error) == ("failed", "The receiver answered 500.")
    assert 8 <= row.attempts <= 12
    assert len(receiver.received) == row.attempts


async def test_day_begins_with_the_first_attempt(workspace, clock, deliverer, receiver):
    """A server that was down for two days tries for a day, too."""
    delivery = await owe(workspace, receiver.url, clock.now)
    clock.pass_by(days=2)
    receiver.script = [answers(500)]
    await work(deliverer)
    assert (await again(delivery)).status == "pending"


async def test_receiver_that_is_gone_is_not_asked_again(workspace, clock, deliverer, receiver):
    receiver.then = answers(410)
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    row = await again(delivery)
    assert (row.status, row.attempts) == ("failed", 1)
    assert row.error == "The receiver answered 410: it does not want this any more."


async def test_receiver_that_asks_for_patience_gets_it(workspace, clock, deliverer, receiver):
    receiver.script = [answers(429, Retry_After="600")]
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    assert ((await again(delivery)).next_attempt_at - clock.now).total_seconds() == 600


async def test_webhook_that_is_not_allowed_any_more_is_not_sent(workspace, clock, deliverer, receiver, use_webhooks):
    delivery = await owe(workspace, receiver.url, clock.now)
    use_webhooks()
    await work(deliverer)
    row = await again(delivery)
    assert (row.status, row.error) == ("failed", "Not allowed any more. Webhook host blocked: loopback IP range")
    assert receiver.connections == 0


async def test_headers_of_the_config_are_sent_and_kept_nowhere(
    workspace, clock, deliverer, receiver, use_webhooks, monkeypatch, caplog
):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("LG_WEBHOOK_TOKEN", "s3cret-token")
    url = {"disable_loopback": False, "require_https": False}
    use_webhooks(url=url, headers={"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}", "X-Fixed": "fixed-value"})
    receiver.script = [answers(500, b"you sent Bearer s3cret-token, s3cret-token", X_Echo="s3cret-token")]
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    [received] = receiver.received
    assert received.headers["authorization"] == "Bearer s3cret-token"
    assert received.headers["x-fixed"] == "fixed-value"
    [entry] = await attempts(delivery)
    assert entry.request_headers["authorization"] == "***"
    assert entry.request_headers["webhook-signature"] == "***"
    assert entry.response_body == "you sent ***, ***"
    kept = [vars(entry), vars(await again(delivery)), caplog.text]
    assert "s3cret-token" not in str(kept)


async def test_variable_that_ends_with_a_line_break_is_kept_nowhere_either(
    workspace, clock, deliverer, receiver, use_webhooks, monkeypatch
):
    monkeypatch.setenv("LG_WEBHOOK_TOKEN", "s3cret-token\n")
    url = {"disable_loopback": False, "require_https": False}
    use_webhooks(url=url, headers={"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}"})
    receiver.script = [answers(200, b"you sent s3cret-token")]
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    assert receiver.received[0].headers["authorization"] == "Bearer s3cret-token"
    [entry] = await attempts(delivery)
    assert entry.response_body == "you sent ***"


async def test_user_agent_of_the_config_is_the_one_that_is_sent(workspace, clock, deliverer, receiver, use_webhooks):
    url = {"disable_loopback": False, "require_https": False}
    use_webhooks(url=url, headers={"User-Agent": "Acme hooks"})
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    assert receiver.received[0].headers["user-agent"] == "Acme hooks"
    [entry] = await attempts(delivery)
    assert entry.request_headers["user-agent"] == "***"


async def test_variable_that_is_not_set_fails_the_attempt_and_says_so(
    workspace, clock, deliverer, receiver, use_webhooks
):
    url = {"disable_loopback": False, "require_https": False}
    use_webhooks(url=url, headers={"X-Token": "${{ env.LG_WEBHOOK_NOT_SET }}"})
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    row = await again(delivery)
    assert row.status == "pending"
    assert row.error == "webhooks.headers names the variable LG_WEBHOOK_NOT_SET, which is not set."
    assert receiver.connections == 0


async def test_variable_that_is_no_value_of_a_header_fails_the_attempt_and_is_not_shown(
    workspace, clock, deliverer, receiver, use_webhooks, monkeypatch
):
    monkeypatch.setenv("LG_WEBHOOK_TOKEN", "s3cret\r\nHost: x")
    url = {"disable_loopback": False, "require_https": False}
    use_webhooks(url=url, headers={"X-Token": "${{ env.LG_WEBHOOK_TOKEN }}"})
    delivery = await owe(workspace, receiver.url, clock.now)
    await work(deliverer)
    error = (await again(delivery)).error
    assert error == "The value of the header X-Token of webhooks.headers is not one line of ASCII."
    assert receiver.connections == 0


async def test_receiver_that_hangs_does_not_hold_up_others(workspace, clock, deliverer, receiver, settings):
    settings.WEBHOOK_CONCURRENCY = 16
    with receiving() as hanging:
        hanging.then = hanging.hangs
        # Another name of the same machine: hosts are told apart by their names.
        slow = hanging.url.replace("127.0.0.1", "localhost")
        for _ in range(50):
            await owe(workspace, slow, clock.now)
        for _ in range(20):
            await owe(workspace, receiver.url, clock.now)
        # Its places are taken; the others come and go.
        for _ in range(200):
            await deliverer.round()
            if len(receiver.received) == 20:
                break
            await asyncio.sleep(0.02)
        assert len(receiver.received) == 20
        assert len(hanging.received) <= deliverer.per_host == 2
        await deliverer.close()


async def test_no_more_requests_at_a_time_than_the_limit(workspace, clock, deliverer, settings):
    settings.WEBHOOK_CONCURRENCY = 3
    with receiving() as hanging:
        hanging.then = hanging.hangs
        for number in range(10):
            await owe(workspace, hanging.url, clock.now, host=f"host-{number}")
        await deliverer.round()
        assert len(await asyncio.to_thread(hanging.wait, 3)) == 3
        await deliverer.round()
        assert await in_db(WebhookDelivery.objects.filter(status="delivering").count) == 3
        await deliverer.close()


async def test_requests_that_are_cut_off_by_the_end_of_the_server_are_given_back(
    workspace, clock, deliverer, receiver, monkeypatch
):
    monkeypatch.setattr(deliverer_module, "GRACE_SECONDS", 0.05)
    receiver.script = [receiver.hangs]
    delivery = await owe(workspace, receiver.url, clock.now)
    await deliverer.round()
    await asyncio.to_thread(receiver.wait, 1)
    await deliverer.close()
    row = await again(delivery)
    assert (row.status, row.attempts, row.lease_owner) == ("pending", 0, None)


async def test_delivery_whose_sender_died_is_sent_again_when_its_lease_is_over(workspace, clock, receiver):
    delivery = await owe(workspace, receiver.url, clock.now)
    [died] = await in_db(claims.claim, clock.now, limit=5, per_host=5, busy={})
    other = Deliverer(Sender(Resolver()), now=clock)
    # Not its first round, at which no other process would be alive on SQLite.
    other._is_first_round = False
    await work(other)
    assert receiver.received == []
    clock.pass_by(minutes=1)
    await work(other)
    assert len(receiver.received) == 1
    assert [entry.error for entry in await attempts(delivery)] == [claims.LOST, ""]
    # What the dead one would have to say does not count.
    assert not await in_db(claims.record, died, clock.now, {}, Answer(status=500), clock.now)
    assert (await again(delivery)).status == "delivered"


async def test_delivery_whose_sender_dies_each_time_is_given_up_as_any_other(workspace, clock, receiver):
    delivery = await owe(workspace, receiver.url, clock.now)
    for _ in range(60):
        await in_db(claims.claim, clock.now, limit=5, per_host=5, busy={})
        clock.pass_by(minutes=30)
        await in_db(claims.take_back, clock.now)
    row = await again(delivery)
    assert row.status == "failed"
    assert row.error == claims.LOST
    assert row.attempts <= 12


async def test_four_deliverers_deliver_each_of_two_hundred_once(workspace, clock, receiver, settings):
    settings.WEBHOOK_CONCURRENCY = 64
    for _ in range(200):
        await owe(workspace, receiver.url, clock.now)
    several = [Deliverer(Sender(Resolver()), now=clock) for _ in range(4)]
    for each in several:
        each._is_first_round = False

    async def until_empty(each: Deliverer) -> None:
        while await in_db(WebhookDelivery.objects.filter(status="pending").exists):
            await each.round()
            await asyncio.sleep(0.01)
        await each.idle()

    await asyncio.gather(*(until_empty(each) for each in several))
    counts = Counter(received.identity for received in receiver.received)
    assert len(counts) == 200
    assert set(counts.values()) == {1}
    assert await in_db(WebhookDelivery.objects.filter(status="delivered").count) == 200


async def test_outcome_that_cannot_be_written_is_logged_and_sent_again(
    workspace, clock, deliverer, receiver, monkeypatch, caplog
):
    delivery = await owe(workspace, receiver.url, clock.now)
    fine = claims.record

    def fails(*arguments: Any, **options: Any) -> bool:
        monkeypatch.setattr(claims, "record", fine)
        raise RuntimeError("disk full")

    monkeypatch.setattr(claims, "record", fails)
    await work(deliverer)
    assert "could not be written down" in caplog.text
    clock.pass_by(minutes=1)
    await work(deliverer)
    assert (await again(delivery)).status == "delivered"
    assert len({received.identity for received in receiver.received}) == 1


async def test_old_deliveries_go_and_what_is_owed_stays(workspace, clock, receiver, settings):
    from datetime import timedelta

    settings.WEBHOOK_RETENTION_DAYS = 30
    old = clock.now - timedelta(days=31)
    for status in ("delivered", "failed", "held", "pending"):
        await owe(workspace, receiver.url, clock.now, status=status, created_at=old)
    await owe(workspace, receiver.url, clock.now, status="delivered")
    assert await in_db(removal.delete_old, clock.now) == 3
    left = await in_db(lambda: sorted(WebhookDelivery.objects.values_list("status", flat=True)))
    assert left == ["delivered", "pending"]


async def test_bodies_of_what_is_deleted_are_not_read(workspace, clock, receiver, settings):
    from django.db import connection
    from django.db.models import Q
    from django.test.utils import CaptureQueriesContext

    from platform_site.webhooks.removal import deliveries_forget

    settings.WEBHOOK_RETENTION_DAYS = 0

    def deleted() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            deliveries_forget(Q(thread_id=first.thread_id))
            assert removal.delete_old(clock.now) == 1
        return [query["sql"] for query in captured if '"body"' in query["sql"]]

    first, _ = [await owe(workspace, receiver.url, clock.now, status="delivered") for _ in range(2)]
    clock.pass_by(hours=1)
    assert await in_db(deleted) == []
    assert await in_db(WebhookDelivery.objects.count) == 0


async def test_endpoints_that_nobody_uses_any_more_go(workspace, clock, deliverer, receiver):
    paths = [f"http://127.0.0.1:{receiver.port}/{job}" for job in range(3)]
    for path in paths:
        await owe(workspace, path, clock.now)
    await work(deliverer)
    await in_db(WebhookEndpoint.objects.filter(address=paths[0]).update, disabled_at=clock.now)
    assert await in_db(removal.delete_old_endpoints, clock.now) == 0
    clock.pass_by(hours=31 * 24)
    await owe(workspace, paths[2], clock.now)
    await work(deliverer)
    assert await in_db(removal.delete_old_endpoints, clock.now) == 1
    left = await in_db(lambda: set(WebhookEndpoint.objects.values_list("address", flat=True)))
    assert left == {paths[0], paths[2]}


async def test_path_on_this_server_is_called_like_any_receiver(workspace, clock, deliverer, receiver, settings):
    settings.HOST, settings.PORT = "0.0.0.0", receiver.port
    await owe(workspace, "/hook?tok=2", clock.now)
    await work(deliverer)
    assert [received.path for received in receiver.received] == ["/hook?tok=2"]

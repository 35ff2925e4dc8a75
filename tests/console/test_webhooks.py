"""The pages of webhooks: deliveries, one of them, endpoints, the signing secret."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from platform_site.access.principal import Principal
from platform_site.console.shell import VIEWER_SENTENCE
from platform_site.webhooks.models import (
    DeliveryStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)
from platform_site.webhooks.pages import PER_PAGE
from platform_site.webhooks.selectors import secrets_in_force
from tests.console.conftest import HOSTILE, Yard

LIST = "/dashboard/operations/webhooks"
MakeDelivery = Callable[..., WebhookDelivery]


@pytest.fixture
def deliver(yard: Yard) -> MakeDelivery:
    def make(address: str = "https://hooks.example/in", of: Yard = yard, **fields: Any) -> WebhookDelivery:
        values = {"run_id": uuid4(), "thread_id": uuid4(), "url": f"{address}?token=secret", "address": address,
                  "host": "hooks.example", "endpoint_digest": address, "event": "run.success",
                  "body": '{"status": "success"}', "status": DeliveryStatus.DELIVERED, "attempts": 1}  # fmt: skip
        return WebhookDelivery.objects.create(workspace=of.workspace, **(values | fields))

    return make


@pytest.fixture
def endpoint(yard: Yard) -> Callable[..., WebhookEndpoint]:
    def make(address: str = "https://hooks.example/in", of: Yard = yard, **fields: Any) -> WebhookEndpoint:
        return WebhookEndpoint.objects.create(workspace=of.workspace, address=address, digest=address, **fields)

    return make


def read(client: Client, path: str = LIST, **query: Any) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200
    return answer.content.decode()


def addresses(client: Client, **query: Any) -> list[str]:
    return [part.split("</a>")[0].split(">")[1] for part in read(client, **query).split('<a class="whole cut"')[1:]]


# The list.


def test_the_newest_delivery_is_on_top_with_outcome_attempts_and_the_next_one(yard, deliver, member):
    deliver("https://a.example/", response_status=200)
    next_at = yard.now + timedelta(hours=2.5)
    deliver(
        "https://b.example/", status="pending", attempts=3, failures=3, next_attempt_at=next_at, response_status=503
    )
    page = read(member)
    assert addresses(member) == ["https://b.example/", "https://a.example/"]
    for text in ("Delivered", "Trying again", "503", "in 2 h "):
        assert text in page


@pytest.mark.parametrize(
    ("status", "word"),
    [("pending", "Waiting"), ("delivering", "Sending"), ("delivered", "Delivered"), ("failed", "Failed"),
     ("held", "Held back")],
)  # fmt: skip
def test_each_outcome_has_its_word(deliver, member, status, word):
    deliver(status=status)
    assert f"</svg>{word}</span>" in read(member)


def test_the_list_is_narrowed_to_outcome_run_and_endpoint(deliver, endpoint, member):
    made = deliver("https://a.example/", status="failed")
    deliver("https://b.example/")
    where = endpoint("https://b.example/")
    assert addresses(member, status="failed") == ["https://a.example/"]
    assert addresses(member, run=str(made.run_id)) == ["https://a.example/"]
    assert addresses(member, endpoint=where.pk) == ["https://b.example/"]
    assert addresses(member, status="nonsense") == ["https://b.example/", "https://a.example/"]
    assert "No delivery matches" in read(member, status="held")


def test_the_list_has_pages(deliver, member):
    for number in range(PER_PAGE + 1):
        deliver(f"https://{number}.example/")
    assert len(addresses(member)) == PER_PAGE
    assert addresses(member, page="2") == ["https://0.example/"]
    assert len(addresses(member, page="x")) == PER_PAGE


def test_what_belongs_to_others_is_not_shown(elsewhere, deliver, endpoint, member):
    deliver(of=elsewhere)
    theirs = endpoint(of=elsewhere)
    page = read(member)
    assert "No deliveries yet" in page
    assert "hooks.example" not in page
    assert member.get(LIST, {"endpoint": theirs.pk}).status_code == 404


def test_a_query_that_may_hold_a_secret_is_not_shown(deliver, member):
    made = deliver()
    for path in (LIST, f"{LIST}/{made.delivery_id}"):
        assert "token=secret" not in read(member, path)


# One delivery.


def test_a_delivery_tells_request_and_response_of_each_attempt(yard, deliver, member):
    run = yard.run()
    made = deliver(run_id=run.run_id, attempts=2, status="failed", error="The receiver answered 500.")
    WebhookAttempt.objects.create(
        delivery=made, number=1, at=yard.now, milliseconds=40, error="The name does not resolve.",
        request_headers={"webhook-id": "msg_1"},
    )  # fmt: skip
    WebhookAttempt.objects.create(
        delivery=made, number=2, at=yard.now, milliseconds=52, response_status=500, response_body="upstream is down",
        request_headers={"webhook-id": "msg_1"}, response_headers=[["server", "caddy"]],
    )  # fmt: skip
    page = read(member, f"{LIST}/{made.delivery_id}")
    told = ("Attempt 1", "The name does not resolve.", "no answer", "Attempt 2", "upstream is down", "caddy", "msg_1")
    for text in (*told, "The receiver answered 500.", f"/dashboard/runs/{run.run_id}", '<span class="jk">status'):
        assert text in page
    # The latest one is on top.
    assert page.index("Attempt 2") < page.index("Attempt 1")


def test_a_delivery_of_a_run_that_is_deleted_says_so(deliver, member):
    made = deliver()
    page = read(member, f"{LIST}/{made.delivery_id}")
    assert f"/dashboard/runs/{made.run_id}" not in page
    assert "deleted" in page


def test_a_stranger_does_not_learn_that_it_exists(deliver, endpoint, stranger):
    made, where = deliver(status="failed"), endpoint()
    assert stranger.get(f"{LIST}/{made.delivery_id}").status_code == 404
    assert stranger.post(f"{LIST}/{made.delivery_id}/again").status_code == 404
    assert stranger.post(f"{LIST}/endpoints/{where.pk}/disable").status_code == 404
    assert stranger.post(f"{LIST}/endpoints/{where.pk}/enable").status_code == 404
    made.refresh_from_db()
    assert made.status == "failed"


def test_nothing_that_a_receiver_said_becomes_markup(yard, deliver, endpoint, member):
    made = deliver(f"https://x.example/{HOSTILE}", endpoint_digest="x", error=HOSTILE, event=HOSTILE[:20], host=HOSTILE,
                   body='{"<script>alert(1)</script>": 1}')  # fmt: skip
    WebhookAttempt.objects.create(
        delivery=made,
        number=1,
        at=yard.now,
        error=HOSTILE,
        response_body=HOSTILE,
        response_headers=[[HOSTILE, HOSTILE]],
    )
    endpoint(HOSTILE, disabled_at=yard.now, disabled_reason=HOSTILE)
    for path in (LIST, f"{LIST}/{made.delivery_id}"):
        page = read(member, path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page


# What people do.


def test_a_member_sends_a_delivery_again(deliver, member):
    made = deliver(status="failed", failures=4)
    answer = member.post(f"{LIST}/{made.delivery_id}/again", follow=True)
    assert b"It is being sent again." in answer.content
    made.refresh_from_db()
    assert (made.status, made.failures) == ("pending", 0)


def test_one_that_is_being_sent_says_why_it_cannot_be_sent_again(deliver, member):
    made = deliver(status="delivering")
    path = f"{LIST}/{made.delivery_id}"
    assert "It is being sent right now." in read(member, path)
    assert b"The delivery is being sent right now" in member.post(f"{path}/again", follow=True).content


def test_a_disabled_endpoint_is_on_top_says_why_and_is_enabled_again(yard, deliver, endpoint, member):
    endpoint("https://fine.example/", last_delivered_at=yard.now)
    where = endpoint(disabled_at=yard.now, disabled_reason="Five deliveries in a row were given up.")
    made = deliver(status="held")
    page = read(member)
    assert page.index("Five deliveries in a row were given up.") < page.index("https://fine.example/")
    assert "Its endpoint is disabled; enable it first." in read(member, f"{LIST}/{made.delivery_id}")
    answer = member.post(f"{LIST}/endpoints/{where.pk}/enable", follow=True)
    assert b"1 held back, on their way now." in answer.content
    made.refresh_from_db()
    assert made.status == "pending"


def test_a_member_disables_an_endpoint(endpoint, member):
    where = endpoint()
    page = member.post(f"{LIST}/endpoints/{where.pk}/disable", follow=True).content.decode()
    assert "Disabled by Mara Lindqvist." in page


def test_a_new_secret_is_shown_once_and_kept_by_nobody(yard, member):
    answer = member.post(f"{LIST}/secret")
    [new, old] = secrets_in_force(Principal(yard.workspace.pk))
    page = answer.content.decode()
    assert (new in page, old in page) == (True, False)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "whsec_" not in read(member)
    assert "2 secrets sign side by side" in read(member)


def test_secrets_of_the_environment_are_rolled_there(member, settings):
    settings.WEBHOOK_SECRETS = ["whsec_" + "QUJD" * 10]
    assert "roll them there" in read(member)
    assert b"roll them there" in member.post(f"{LIST}/secret", follow=True).content
    assert not WebhookSecret.objects.exists()


def test_a_viewers_controls_are_disabled_and_say_why(yard, deliver, endpoint, viewer):
    made, where = deliver(status="failed"), endpoint()
    for path in (LIST, f"{LIST}/{made.delivery_id}"):
        page = read(viewer, path)
        assert VIEWER_SENTENCE in page
        assert 'aria-disabled="true"' in page
    for path in (
        f"{made.delivery_id}/again",
        f"endpoints/{where.pk}/disable",
        f"endpoints/{where.pk}/enable",
        "secret",
    ):
        assert viewer.post(f"{LIST}/{path}").status_code == 403
    made.refresh_from_db()
    assert made.status == "failed"
    assert not WebhookSecret.objects.exists()


def test_more_deliveries_do_not_mean_more_queries(yard, deliver, endpoint, member, django_assert_max_num_queries):
    for number in range(20):
        deliver(f"https://{number}.example/")
        endpoint(f"https://{number}.example/")
    with django_assert_max_num_queries(10):
        member.get(LIST)

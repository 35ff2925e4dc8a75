"""`webhook` in the operations that make runs."""

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from platform_site.core.database.access import in_db
from platform_site.webhooks import endpoint_rules
from platform_site.webhooks.addresses import Address, Resolver
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import api as api
from threads.models import Thread

OPERATIONS = [
    "/threads/{t}/runs", "/threads/{t}/runs/stream", "/threads/{t}/runs/wait", "/runs", "/runs/stream", "/runs/wait",
    "/runs/batch",
]  # fmt: skip
BLOCKED = "http://127.0.0.1:2335/x"
pytestmark = pytest.mark.usefixtures("principal", "use_webhooks")


async def post(api: ApiClient, operation: str, webhook: Any) -> Any:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "log", "input": {"log": []}, "webhook": webhook}
    batch = [{**body, "webhook": "https://8.8.8.8/x"}, body]
    return await api.post(operation.replace("{t}", thread), json=batch if operation == "/runs/batch" else body)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_webhook_that_may_not_be_is_refused_and_nothing_is_made(api: ApiClient, operation: str) -> None:
    answer = await post(api, operation, BLOCKED)
    assert (answer.status_code, answer.json()) == (422, {"detail": "Webhook host blocked: loopback IP range"})
    assert await in_db(Run.objects.count) == 0


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_empty_webhook_is_refused(api: ApiClient, operation: str) -> None:
    answer = await post(api, operation, "")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith('"" is shorter than 1 character')


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_webhooks_can_be_disabled(api: ApiClient, use_webhooks: Any, operation: str) -> None:
    use_webhooks(disabled=True)
    answer = await post(api, operation, "https://8.8.8.8/x")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("`webhook` is not available")
    assert await in_db(Run.objects.count) == 0


@pytest.mark.parametrize("operation", ["/threads/{t}/runs", "/runs"])
async def test_webhook_is_shown_by_its_run(api: ApiClient, operation: str) -> None:
    answer = await post(api, operation, "https://8.8.8.8/x")
    assert (answer.status_code, answer.json()["kwargs"]["webhook"]) == (200, "https://8.8.8.8/x")


async def test_name_that_is_slow_to_resolve_holds_up_nobody(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    class Slow(Resolver):
        async def lookup(self, host: str, port: int) -> Sequence[Address]:
            asked.set()
            await resolved.wait()
            return [ip_address("93.184.216.34")]

    resolved = asyncio.Event()
    monkeypatch.setattr(endpoint_rules, "resolver", Slow)
    waiting = asyncio.create_task(post(api, "/threads/{t}/runs", "https://slow.example.com/x"))
    assert await asyncio.to_thread(asked.wait, 10)
    # Neither the loop nor the writer of the database waits.
    assert (await api.post("/threads", json={})).status_code == 200
    assert not waiting.done()
    resolved.set()
    assert (await waiting).status_code == 200


async def test_deleted_thread_takes_what_was_sent_along(api: ApiClient, owner: Any, workspace: Any, clock: Any) -> None:
    from platform_site.webhooks.models import WebhookDelivery
    from tests.webhooks.conftest import deliver_to

    thread = await in_db(Thread.objects.create, workspace=workspace)
    url = "https://hooks.example.com/x"
    await in_db(deliver_to, workspace, url, clock.now, status="delivered", thread_id=thread.pk)
    await in_db(deliver_to, workspace, url, clock.now, status="pending", thread_id=thread.pk)
    assert (await api.delete(f"/threads/{thread.pk}")).status_code == 204
    left = await in_db(lambda: list(WebhookDelivery.objects.values_list("status", "is_forgotten")))
    assert left == [("pending", True)]

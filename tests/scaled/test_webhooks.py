"""Webhooks in scale mode that are paths: workers send them to a web process."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.scaled_stack import ScaledStack, scaled_stacks

__all__ = ["scaled_stacks"]

pytestmark = pytest.mark.postgres
ALLOWED = json.dumps({"url": {"disable_loopback": False, "require_https": False}})
# Takes any JSON object.
PATH = "/assistants/search"
INPUT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def stack(scaled_stacks: Callable[..., ScaledStack]) -> ScaledStack:
    """The first web process does not know where web processes are."""
    stack = scaled_stacks(LANGGRAPH_WEBHOOKS=ALLOWED)
    stack.start(workers=0)
    stack.start_worker(WEB_URL=stack.web.url)
    stack.start_web(WEB_URL=stack.web.url)
    return stack


@pytest.fixture
def post(stack: ScaledStack) -> Iterator[Callable[[str], httpx.Response]]:
    """Create a run with the webhook through a web process."""
    with httpx.Client(timeout=60) as http:
        body: dict[str, Any] = {"assistant_id": "echo", "input": INPUT, "webhook": PATH}
        yield lambda url: http.post(f"{url}/runs", json=body)


def test_a_path_is_called_at_a_web_process(stack: ScaledStack, post: Callable[[str], httpx.Response]) -> None:
    run = post(stack.webs[1].url).json()["run_id"]
    deadline = time.monotonic() + 60
    while not (found := stack.rows("SELECT status, error FROM webhooks_webhookdelivery WHERE run_id = %s", run)) or (
        found[0]["status"] in ("pending", "delivering") and not found[0]["error"]
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert found == [{"status": "delivered", "error": ""}]


def test_a_path_is_refused_where_nobody_knows_where_to_call_it(
    stack: ScaledStack, post: Callable[[str], httpx.Response]
) -> None:
    answer = post(stack.web.url)
    assert answer.status_code == 422
    assert "WEB_URL" in answer.json()["detail"]

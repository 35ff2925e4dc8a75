"""What is accepted when the disk is nearly full, and what requests may add up to."""

from typing import Any

import pytest

from platform_site.core import quotas
from platform_site.core.database.access import IS_POSTGRES
from tests.api_client import ApiClient

pytestmark = pytest.mark.usefixtures("principal")


@pytest.fixture
def full_disk(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MIN_FREE_DISK_BYTES = 10**18
    monkeypatch.setattr(quotas, "_data_disk", quotas.FreeDisk())


@pytest.mark.skipif(IS_POSTGRES, reason="PostgreSQL looks after its own disk")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/threads", {}),
        ("PATCH", "/threads/{thread}", {"metadata": {"a": 1}}),
        ("POST", "/threads/{thread}/copy", None),
        ("POST", "/threads/{thread}/messages", {"role": "user", "content": "hello"}),
        ("POST", "/assistants", {"graph_id": "log"}),
        ("PATCH", "/assistants/{assistant}", {"metadata": {"a": 1}}),
        ("POST", "/runs/crons", {"assistant_id": "log", "schedule": "@daily"}),
        ("PUT", "/store/items", {"namespace": ["a"], "key": "b", "value": {}}),
    ],
)
async def test_nothing_new_is_accepted_on_a_full_disk(
    api: ApiClient, request: pytest.FixtureRequest, method: str, path: str, body: Any
) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    assistant = (await api.post("/assistants", json={"graph_id": "log"})).json()["assistant_id"]
    request.getfixturevalue("full_disk")
    answer = await api.request(method, path.format(thread=thread, assistant=assistant), json=body)
    assert answer.status_code == 507
    assert "MIN_FREE_DISK_BYTES" in answer.json()["detail"]


@pytest.mark.skipif(IS_POSTGRES, reason="PostgreSQL looks after its own disk")
async def test_room_is_made_on_a_full_disk(api: ApiClient, request: pytest.FixtureRequest) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    cron = (await api.post("/runs/crons", json={"assistant_id": "log", "schedule": "@daily"})).json()["cron_id"]
    request.getfixturevalue("full_disk")
    assert (await api.patch(f"/threads/{thread}", json={"ttl": {"ttl": 1}})).status_code == 200
    assert (await api.patch(f"/runs/crons/{cron}", json={"enabled": False})).status_code == 200
    assert (await api.delete(f"/threads/{thread}")).status_code == 204


async def test_a_copy_is_a_thread_more(api: ApiClient, settings: Any) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    settings.MAX_THREADS = 1
    answer = await api.post(f"/threads/{thread}/copy")
    assert answer.status_code == 409
    assert "MAX_THREADS" in answer.json()["detail"]
    assert (await api.post("/threads/count", json={})).json() == 1


@pytest.mark.parametrize("kind", ["thread", "assistant", "cron"])
async def test_metadata_do_not_grow_by_being_merged(api: ApiClient, settings: Any, kind: str) -> None:
    path, body = {
        "thread": ("/threads", {}),
        "assistant": ("/assistants", {"graph_id": "log"}),
        "cron": ("/runs/crons", {"assistant_id": "log", "schedule": "@daily"}),
    }[kind]
    made = (await api.post(path, json=body)).json()[f"{kind}_id"]
    settings.MAX_BODY_BYTES = 1000
    answers = [await api.patch(f"{path}/{made}", json={"metadata": {key: "x" * 600}}) for key in ("a", "b")]
    assert [answer.status_code for answer in answers] == [200, 413]
    assert "MAX_BODY_BYTES" in answers[-1].json()["detail"]
    assert (await api.patch(f"{path}/{made}", json={"metadata": {"a": ""}})).json()["metadata"] == {"a": ""}


async def test_messages_that_wait_for_a_run_do_not_grow_beyond_what_a_run_could_be_given(
    api: ApiClient, settings: Any
) -> None:
    thread = (await api.post("/threads", json={})).json()["thread_id"]
    settings.MAX_BODY_BYTES = 1000
    message = {"role": "user", "content": "x" * 600}
    answers = [await api.post(f"/threads/{thread}/messages", json=message) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 413]
    assert "MAX_BODY_BYTES" in answers[-1].json()["detail"]
    assert len((await api.get(f"/threads/{thread}/messages")).json()) == 1

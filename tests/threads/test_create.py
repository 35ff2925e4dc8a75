"""POST /threads, GET and PATCH /threads/{thread_id}"""

from typing import Any
from uuid import UUID, uuid4

import pytest

from platform_site.core.database.access import in_db
from tests.api_client import ApiClient, make_key
from tests.threads.conftest import Make
from threads.models import Thread, ThreadTombstone


async def test_new_thread(make: Make) -> None:
    thread = await make(metadata={"a": 1})
    assert UUID(thread["thread_id"]).version == 7
    assert thread["created_at"] == thread["updated_at"] == thread["state_updated_at"]
    assert thread["created_at"].endswith("+00:00")
    rest = {key: thread[key] for key in ("metadata", "status", "config", "values")}
    assert rest == {"metadata": {"a": 1}, "status": "idle", "config": {}, "values": None}


async def test_get_gives_what_create_gave(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"a": {"b": [1, None]}})
    assert (await api.get(f"/threads/{thread['thread_id']}")).json() == thread


async def test_own_id(make: Make) -> None:
    own = str(uuid4())
    assert (await make(thread_id=own))["thread_id"] == own


async def test_id_that_is_taken(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"a": 1})
    own = thread["thread_id"]
    answer = await api.post("/threads", json={"thread_id": own})
    assert (answer.status_code, answer.json()["detail"]) == (409, f"Thread with ID {own} already exists")
    assert await make(thread_id=own, if_exists="do_nothing", metadata={"b": 2}) == thread


async def test_id_that_another_workspace_has(api: ApiClient, settings: Any) -> None:
    settings.AUTH = "keys"
    ours, theirs = await make_key(), await make_key(workspace="other")
    from tests.api_client import client

    async with client() as http:
        own = (await http.post("/threads", json={}, headers={"X-Api-Key": theirs})).json()["thread_id"]
        body = {"thread_id": own, "if_exists": "do_nothing"}
        assert (await http.post("/threads", json=body, headers={"X-Api-Key": ours})).status_code == 409
        assert (await http.get(f"/threads/{own}", headers={"X-Api-Key": ours})).status_code == 404


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "Invalid JSON in request body"),
        (b"[]", '[] is not of type "object"'),
        (b'{"thread_id": "x"}', "Invalid thread ID: must be a UUID"),
        (b'{"if_exists": "x"}', '"x" is not one of "raise" or "do_nothing"'),
        (b'{"metadata": null}', 'null is not of type "object"'),
        (b'{"ttl": 5}', '5 is not of type "object"'),
        (b'{"supersteps": [{"updates": [{"values": {}}]}]}', '"as_node" is a required property'),
    ],
)
async def test_bad_bodies(api: ApiClient, body: bytes, detail: str) -> None:
    answer = await api.post("/threads", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


async def test_unknown_thread(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.get(f"/threads/{unknown}")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"Thread with ID {unknown} not found")


async def test_new_thread_has_nothing_of_a_deleted_one(make: Make) -> None:
    own = uuid4()
    await in_db(lambda: ThreadTombstone.objects.create(thread_id=own))
    await make(thread_id=str(own))
    assert await in_db(ThreadTombstone.objects.count) == 0


async def test_metadata_may_be_deep(api: ApiClient) -> None:
    deep = '{"metadata":' + '{"a":' * 200 + "1" + "}" * 200 + "}"
    assert (await api.post("/threads", content=deep.encode())).status_code == 200


# --- patch -----------------------------------------------------------------------------------------


async def test_patch_merges_at_the_top_and_keeps_nulls(api: ApiClient, make: Make) -> None:
    thread = await make(metadata={"a": {"x": 1}, "b": 2, "c": 3})
    answer = await api.patch(f"/threads/{thread['thread_id']}", json={"metadata": {"a": {"y": 1}, "b": None}})
    found = answer.json()
    assert found["metadata"] == {"a": {"y": 1}, "b": None, "c": 3}
    assert found["updated_at"] > thread["updated_at"]
    assert found["state_updated_at"] == thread["state_updated_at"]


async def test_patch_may_answer_nothing(api: ApiClient, make: Make) -> None:
    url = f"/threads/{(await make())['thread_id']}"
    answer = await api.patch(url, json={"metadata": {"a": 1}}, headers={"Prefer": "return=minimal"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.get(url)).json()["metadata"] == {"a": 1}


async def test_patch_of_an_unknown_thread(api: ApiClient) -> None:
    answer = await api.patch(f"/threads/{uuid4()}", json={})
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


async def test_title_is_not_shown(api: ApiClient, make: Make) -> None:
    thread = await make()
    await in_db(lambda: Thread.objects.update(title="Secret plan"))
    assert "title" not in (await api.get(f"/threads/{thread['thread_id']}")).json()

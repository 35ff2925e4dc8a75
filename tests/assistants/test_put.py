"""PUT /assistants/{assistant_id}: the older name of PATCH."""

from uuid import uuid4

from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_changes_what_was_sent_as_a_new_version(api: ApiClient, make: Make) -> None:
    made = await make(name="A1", description="d", metadata={"k": 1})
    answer = await api.put(f"/assistants/{made['assistant_id']}", json={"name": "A2", "metadata": {"l": 2}})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["name"], changed["description"], changed["version"]) == ("A2", "d", 2)
    assert changed["metadata"] == {"k": 1, "l": 2}


async def test_unknown(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.put(f"/assistants/{unknown}", json={})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Assistant {unknown} not found"})


async def test_id_that_is_none(api: ApiClient) -> None:
    answer = await api.put("/assistants/echo", json={})
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})

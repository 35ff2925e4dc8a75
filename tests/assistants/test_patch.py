"""PATCH /assistants/{assistant_id}"""

from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_makes_a_version(api: ApiClient, make: Make) -> None:
    made = await make(name="A1", description="d")
    answer = await api.patch(f"/assistants/{made['assistant_id']}", json={"name": "A2"})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed["updated_at"] > made["updated_at"]
    assert changed == {**made, "name": "A2", "version": 2, "updated_at": changed["updated_at"]}
    assert (await api.get(f"/assistants/{made['assistant_id']}")).json() == changed


async def test_nothing_sent_is_a_version_too(api: ApiClient, make: Make) -> None:
    made = await make()
    assert (await api.patch(f"/assistants/{made['assistant_id']}", json={})).json()["version"] == 2


async def test_metadata_is_merged_at_the_top_level(api: ApiClient, make: Make) -> None:
    made = await make(metadata={"k": "v", "n": {"a": 1}})
    changed = await api.patch(f"/assistants/{made['assistant_id']}", json={"metadata": {"n": {"b": 2}, "z": None}})
    assert changed.json()["metadata"] == {"k": "v", "n": {"b": 2}, "z": None}


async def test_context_replaces_configurable_and_the_rest_of_config(api: ApiClient, make: Make) -> None:
    made = await make(config={"configurable": {"x": 1}, "tags": ["t"]})
    changed = (await api.patch(f"/assistants/{made['assistant_id']}", json={"context": {"w": 3}})).json()
    assert (changed["config"], changed["context"]) == ({"configurable": {"w": 3}}, {"w": 3})


async def test_configurable_replaces_context(api: ApiClient, make: Make) -> None:
    made = await make(context={"x": 1})
    changed = await api.patch(f"/assistants/{made['assistant_id']}", json={"config": {"configurable": {"y": 2}}})
    assert changed.json()["context"] == {"y": 2}


async def test_empty_context_clears_both(api: ApiClient, make: Make) -> None:
    made = await make(config={"configurable": {"x": 1}, "tags": ["t"]})
    changed = (await api.patch(f"/assistants/{made['assistant_id']}", json={"context": {}})).json()
    assert (changed["config"], changed["context"]) == ({"tags": ["t"]}, {})


async def test_configurable_and_context_together_are_refused(api: ApiClient, make: Make) -> None:
    made = await make()
    body = {"config": {"configurable": {"a": 1}}, "context": {"b": 1}}
    assert (await api.patch(f"/assistants/{made['assistant_id']}", json=body)).status_code == 400


async def test_description_can_be_taken_away(api: ApiClient, make: Make) -> None:
    made = await make(description="d")
    changed = await api.patch(f"/assistants/{made['assistant_id']}", json={"description": None})
    assert changed.json()["description"] is None


async def test_graph_can_be_changed(api: ApiClient, make: Make) -> None:
    made = await make()
    changed = await api.patch(f"/assistants/{made['assistant_id']}", json={"graph_id": "slow"})
    assert changed.json()["graph_id"] == "slow"


@pytest.mark.parametrize("graph_id", ["nope", ""])
async def test_unknown_graph(api: ApiClient, make: Make, graph_id: str) -> None:
    made = await make()
    answer = await api.patch(f"/assistants/{made['assistant_id']}", json={"graph_id": graph_id})
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(f"Graph '{graph_id}' not found. Expected one of: ['approval', ")


async def test_unknown_assistant(api: ApiClient) -> None:
    unknown = uuid4()
    answer = await api.patch(f"/assistants/{unknown}", json={"name": "q"})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"Assistant {unknown} not found"})

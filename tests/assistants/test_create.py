"""POST /assistants"""

from typing import Any
from uuid import UUID, uuid4

from assistants.schemas import Assistant
from platform_site.access.models import AuditEntry
from platform_site.core.database.access import in_db
from tests.api_client import ApiClient
from tests.assistants.conftest import Make


async def test_gives_the_assistant(api: ApiClient) -> None:
    fields = {"graph_id": "chat", "name": "A1", "metadata": {"k": "v"}, "description": "d"}
    answer = await api.post("/assistants", json=fields)
    assert answer.status_code == 200
    made = answer.json()
    assert {key: made[key] for key in fields} == fields
    assert made["version"] == 1
    assert made["created_at"] == made["updated_at"]
    assert made["created_at"].endswith("+00:00")
    assert UUID(made["assistant_id"]).version == 4
    Assistant.model_validate_json(answer.content)


async def test_defaults(make: Make) -> None:
    made = await make()
    assert (made["name"], made["description"], made["config"], made["context"], made["metadata"]) == (
        "Untitled",
        None,
        {},
        {},
        {},
    )


async def test_takes_the_clients_id(make: Make) -> None:
    wanted = str(uuid4())
    assert (await make(assistant_id=wanted))["assistant_id"] == wanted


async def test_configurable_is_mirrored_into_context(make: Make) -> None:
    made = await make(config={"configurable": {"x": 1}, "tags": ["t"]})
    assert made["config"] == {"configurable": {"x": 1}, "tags": ["t"]}
    assert made["context"] == {"x": 1}


async def test_context_is_mirrored_into_configurable(make: Make) -> None:
    made = await make(context={"x": 1}, config={"tags": ["t"]})
    assert made["config"] == {"tags": ["t"], "configurable": {"x": 1}}


async def test_configurable_and_context_together_are_refused(api: ApiClient) -> None:
    body = {"graph_id": "chat", "config": {"configurable": {"a": 1}}, "context": {"b": 1}}
    answer = await api.post("/assistants", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Cannot specify both configurable and context. Prefer setting context")


async def test_config_keeps_keys_that_are_not_checked(make: Make) -> None:
    config = {"recursion_limit": 7, "metadata": {"a": None}, "run_name": "r"}
    assert (await make(config=config))["config"] == config


async def test_unknown_graph(api: ApiClient) -> None:
    answer = await api.post("/assistants", json={"graph_id": "nope"})
    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "Graph 'nope' not found. Expected one of: ['approval', 'chat', 'memory', 'research', 'slow']"
    }


async def test_taken_id(api: ApiClient, make: Make) -> None:
    made = await make()
    answer = await api.post("/assistants", json={"graph_id": "chat", "assistant_id": made["assistant_id"]})
    assert answer.status_code == 409
    assert answer.json() == {"detail": f"Assistant {made['assistant_id']} already exists"}


async def test_do_nothing_gives_the_stored_assistant(make: Make) -> None:
    made = await make(name="first")
    assert await make(assistant_id=made["assistant_id"], name="second", if_exists="do_nothing") == made


async def test_unknown_fields_are_ignored(make: Make) -> None:
    assert "nonsense" not in await make(nonsense=1)


async def test_is_in_the_audit_log(make: Make) -> None:
    made = await make(name="A1")
    entry = await in_db(AuditEntry.objects.get)
    assert (entry.action, entry.target) == ("assistant.created", made["assistant_id"])


async def test_what_a_list_could_not_show_is_not_stored(api: ApiClient, make: Make) -> None:
    nested: Any = 1
    for depth in range(1, 255):
        nested = [nested]
        if depth > 250:
            for body in ({"metadata": {"a": nested}}, {"context": {"a": nested}}):
                await api.post("/assistants", json={"graph_id": "chat", **body})
    found = await api.post("/assistants/search", json={"limit": 100})
    assert found.status_code == 200
    for one in found.json():
        assert (await api.post(f"/assistants/{one['assistant_id']}/versions", json={})).status_code == 200

"""A run reads and writes its own thread, in the name of who asked for it, whatever its configuration says."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from platform_site.access.principal import Principal
from runs.engine.embedded import Engine
from tests.api_client import ApiClient, client, make_key

SECRET = "SECRET-CANARY-42"


@pytest.fixture
async def keys_mode(principal: Principal, engine: Engine, settings: Any) -> AsyncIterator[ApiClient]:
    """The API with an engine at work, for callers with keys."""
    settings.AUTH = "keys"
    async with client() as http:
        yield http


async def post(api: ApiClient, key: str, path: str, body: dict[str, Any]) -> Any:
    answer = await api.post(path, json=body, headers={"X-Api-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def state(api: ApiClient, key: str, thread: str) -> Any:
    answer = await api.get(f"/threads/{thread}/state", headers={"X-Api-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()["values"]


async def test_an_assistant_that_names_the_thread_of_another_workspace_does_not_reach_it(keys_mode: ApiClient) -> None:
    victim, attacker = await make_key("member"), await make_key("member", workspace="evil")
    theirs = (await post(keys_mode, victim, "/threads", {}))["thread_id"]
    said = {"assistant_id": "log", "input": {"log": [SECRET]}}
    await post(keys_mode, victim, f"/threads/{theirs}/runs/wait", said)
    before = await state(keys_mode, victim, theirs)

    assistant = await post(keys_mode, attacker, "/assistants", {"graph_id": "log", "config": {"thread_id": theirs}})
    assert assistant["config"] == {"thread_id": theirs}
    own = (await post(keys_mode, attacker, "/threads", {}))["thread_id"]
    attack = {"assistant_id": assistant["assistant_id"], "input": {"log": ["hello from the attacker"]}}
    answer = await post(keys_mode, attacker, f"/threads/{own}/runs/wait", attack)

    assert answer == {"log": ["hello from the attacker", "one", "two"]}
    assert await state(keys_mode, victim, theirs) == before
    assert await state(keys_mode, attacker, own) == answer

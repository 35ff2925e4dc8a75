"""Default assistants are the system's; a workspace that changes one has a row of its own, which shadows it there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from assistants.services import ensure_default_assistants
from platform_site.core.database import in_db
from tests.api_client import ApiClient, client, make_key

ECHO = "046b5dc7-2108-582c-9c6c-31d556d138f0"
PATH = f"/assistants/{ECHO}"


@pytest.fixture
async def evil(api: ApiClient, settings: Any) -> AsyncIterator[ApiClient]:
    """An admin of one workspace."""
    await in_db(ensure_default_assistants, ["echo"])
    settings.AUTH = "keys"
    async with client(headers={"X-Api-Key": await make_key("admin", workspace="evil")}) as http:
        yield http


@pytest.fixture
async def victim(evil: ApiClient) -> AsyncIterator[ApiClient]:
    """A member of another one."""
    async with client(headers={"X-Api-Key": await make_key()}) as http:
        yield http


async def test_a_change_is_not_seen_by_others(evil: ApiClient, victim: ApiClient) -> None:
    before = (await victim.get(PATH)).json()
    answer = await evil.patch(PATH, json={"config": {"configurable": {"injected": "by evil"}}})
    assert answer.status_code == 200
    assert (await victim.get(PATH)).json() == before


async def test_a_delete_is_not_seen_by_others(evil: ApiClient, victim: ApiClient) -> None:
    assert (await evil.delete(PATH)).status_code == 204
    assert (await victim.get(PATH)).status_code == 200


async def test_an_id_taken_in_advance_takes_nothing_from_others(evil: ApiClient, victim: ApiClient) -> None:
    from platform_site.core.graphs import default_assistant_id

    chat = str(default_assistant_id("chat"))
    assert (await evil.post("/assistants", json={"graph_id": "slow", "assistant_id": chat})).status_code == 200
    await in_db(ensure_default_assistants, ["echo", "chat"])
    assert (await victim.get(f"/assistants/{chat}")).json()["graph_id"] == "chat"

"""`/info`: what the server is."""

from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import pytest

from platform_site import __version__
from platform_site.core.graphs.registry import registry
from platform_site.core.http.routing import PUBLIC
from tests.api_client import ApiClient, client, make_key
from tests.api_client import api as api


async def test_versions_flags_and_host(api: ApiClient) -> None:
    info = (await api.get("/info")).json()
    assert info["version"] == __version__
    assert info["langgraph_py_version"] == version("langgraph")
    assert info["flags"]["assistants"] is info["flags"]["crons"] is True
    assert info["host"]["kind"] == "self-hosted"
    assert info["metadata"] == {}


@pytest.mark.parametrize(
    ("database_url", "redis_url", "mode"),
    [
        ("", "", "embedded"),
        ("postgres://localhost/x", "", "embedded-postgresql"),
        ("postgres://localhost/x", "redis://localhost", "scaled"),
    ],
)
async def test_the_mode(api: ApiClient, settings: Any, database_url: str, redis_url: str, mode: str) -> None:
    settings.DATABASE_URL, settings.REDIS_URL = database_url, redis_url
    assert (await api.get("/info")).json()["mode"] == mode


async def test_every_graph_and_its_state(api: ApiClient) -> None:
    registry().load()
    assert (await api.get("/info")).json()["graphs"] == {graph_id: {"status": "ready"} for graph_id in registry().ids}


async def test_a_broken_graph_has_its_reason(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry().failures, "chat", "no such module")
    graphs = (await api.get("/info")).json()["graphs"]
    assert graphs["chat"] == {"status": "broken", "reason": "no such module"}


CANARY = "postgres://app:PASSWORD-CANARY-99@db/prod"


@pytest.fixture
async def keyed(api: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiClient]:
    """A server that asks for keys and whose graph `chat` is broken by something secret."""
    monkeypatch.setitem(registry().failures, "chat", f"RuntimeError: cannot connect to {CANARY}")
    # Another test may have asked for them, when the graph was not broken.
    monkeypatch.delitem(registry()._schemas, "chat", raising=False)
    settings.AUTH = "keys"
    async with client() as http:
        yield http


async def test_strangers_learn_that_a_graph_is_broken_and_no_more(keyed: ApiClient) -> None:
    for headers in ({}, {"X-Api-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
        answer = await keyed.get("/info", headers=headers)
        assert answer.json()["graphs"]["chat"] == {"status": "broken"}


@pytest.mark.parametrize(("role", "is_told"), [("viewer", False), ("member", False), ("admin", True)])
async def test_the_reason_is_for_admins(keyed: ApiClient, role: str, is_told: bool) -> None:
    key = {"X-Api-Key": await make_key(role)}
    assert (CANARY in (await keyed.get("/info", headers=key)).text) is is_told
    made = await keyed.post("/assistants", json={"graph_id": "chat"}, headers={"X-Api-Key": await make_key("admin")})
    schemas = await keyed.get(f"/assistants/{made.json()['assistant_id']}/schemas", headers=key)
    assert schemas.status_code == 503
    assert (CANARY in schemas.text) is is_told


@pytest.mark.parametrize(
    "path", sorted(PUBLIC | {"/", "/nope", "/assistants", "/ok?check_db=1", "/metrics?format=json"})
)
async def test_nothing_tells_strangers_the_text_of_an_exception(keyed: ApiClient, path: str) -> None:
    assert "CANARY" not in (await keyed.get(path)).text
    assert "CANARY" not in (await keyed.post(path)).text

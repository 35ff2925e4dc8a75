"""`/info`: what the server is."""

from importlib.metadata import version
from typing import Any

import pytest

from platform_site import __version__
from platform_site.core.graphs import registry
from tests.api_client import ApiClient
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

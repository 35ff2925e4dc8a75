"""`/ok` and `/`: does the server answer."""

import asyncio
from typing import Any

import pytest
from django.db import DatabaseError

from platform_site.core.graphs.registry import registry
from platform_site.system import checks
from tests.api_client import ApiClient
from tests.api_client import api as api
from tests.valkey import redis_url as redis_url
from tests.valkey import valkey_server as valkey_server


@pytest.mark.parametrize("path", ["/ok", "/"])
async def test_is_ok(api: ApiClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code == 200
    assert answer.json()["ok"] is True


async def test_says_whether_the_graphs_are_loaded(api: ApiClient) -> None:
    registry().load()
    assert (await api.get("/ok")).json() == {"ok": True, "services": {}, "graphs": "ready"}


async def test_names_broken_graphs(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry().failures, "chat", "it is broken")
    assert (await api.get("/ok")).json()["broken_graphs"] == ["chat"]


async def test_checks_the_database_if_asked(api: ApiClient) -> None:
    assert (await api.get("/ok?check_db=1")).json()["ok"] is True


async def test_a_database_that_does_not_answer_is_a_500(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DatabaseError("secret host name")

    monkeypatch.setattr(checks, "database_check", fail)
    answer = await api.get("/ok?check_db=1")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The database does not answer: DatabaseError"}
    assert (await api.get("/ok")).status_code == 200


async def test_what_does_not_answer_in_time_is_a_500(
    api: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HEALTH_TIMEOUT_SECONDS = 0.01
    monkeypatch.setattr(checks, "ask_database", lambda: asyncio.sleep(60))
    answer = await api.get("/ok?check_db=1")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The database does not answer in 0.01 s"}


async def test_redis_is_asked_in_scale_mode(api: ApiClient, settings: Any, redis_url: str) -> None:
    settings.REDIS_URL = redis_url
    assert (await api.get("/ok?check_db=1")).status_code == 200


async def test_a_redis_that_is_away_is_named(api: ApiClient, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9"
    answer = await api.get("/ok?check_db=1")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Redis does not answer: ConnectionError"}


async def test_a_redis_that_accepts_and_says_nothing_is_named(api: ApiClient, settings: Any) -> None:
    settings.HEALTH_TIMEOUT_SECONDS = 0.2
    async with await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        answer = await api.get("/ok?check_db=1")
    assert answer.json() == {"detail": "Redis does not answer in 0.2 s"}


async def test_all_that_do_not_answer_are_named(api: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise DatabaseError

    monkeypatch.setattr(checks, "ask_database", fail)
    settings.REDIS_URL = "redis://127.0.0.1:9"
    detail = (await api.get("/ok?check_db=1")).json()["detail"]
    assert detail == "The database does not answer: DatabaseError; Redis does not answer: ConnectionError"


@pytest.mark.parametrize("value", ["yes", "2", "-1", "", "1.5"])
async def test_a_wrong_check_db_is_a_422(api: ApiClient, value: str) -> None:
    for path in ("/ok", "/"):
        assert (await api.get(f"{path}?check_db={value}")).status_code == 422


async def test_head_has_no_body(api: ApiClient) -> None:
    answer = await api.head("/ok")
    assert (answer.status_code, answer.content) == (200, b"")

"""`/ok` and `/`: does the server answer."""

import pytest
from django.db import DatabaseError

from platform_site.core.graphs import registry
from platform_site.system import api as system_api
from tests.api_client import ApiClient
from tests.api_client import api as api


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

    monkeypatch.setattr(system_api, "database_check", fail)
    answer = await api.get("/ok?check_db=1")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The database does not answer: DatabaseError"}
    assert (await api.get("/ok")).status_code == 200


@pytest.mark.parametrize("value", ["yes", "2", "-1", "", "1.5"])
async def test_a_wrong_check_db_is_a_422(api: ApiClient, value: str) -> None:
    for path in ("/ok", "/"):
        assert (await api.get(f"{path}?check_db={value}")).status_code == 422


async def test_head_has_no_body(api: ApiClient) -> None:
    answer = await api.head("/ok")
    assert (answer.status_code, answer.content) == (200, b"")

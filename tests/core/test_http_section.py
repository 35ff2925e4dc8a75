"""The `http` section of langgraph.json in effect: a prefix, groups that are switched off, the meta endpoints."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from platform_site import api_urls
from platform_site.core import config as config_module
from platform_site.core.project.sections import Http
from tests.api_client import ApiClient, client
from tests.api_client import api as api


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, api: ApiClient) -> Iterator[Any]:
    """`serve(disable_runs=True)`: a client of an application with this `http` section."""

    def make(**http: Any) -> ApiClient:
        monkeypatch.setattr(config_module, "_current", replace(config_module.config(), http=Http(**http)))
        forget()
        return client()

    def forget() -> None:
        api_urls._openapi.cache_clear()
        api_urls._docs.cache_clear()

    yield make
    forget()


GROUPS = {
    "assistants": [("POST", "/assistants/search"), ("GET", "/assistants")],
    "threads": [("POST", "/threads"), ("POST", "/threads/search")],
    "runs": [("POST", "/runs/wait"), ("GET", "/threads/00000000-0000-7000-8000-000000000000/runs")],
    "store": [("GET", "/store/items"), ("PUT", "/store/items"), ("POST", "/store/namespaces")],
    "meta": [("GET", "/info"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/openapi.json")],
}


@pytest.mark.parametrize("group", list(GROUPS))
async def test_a_group_that_is_switched_off_is_not_found(serve: Any, group: str) -> None:
    http = serve(**{f"disable_{group}": True})
    for method, path in GROUPS[group]:
        answer = await http.request(method, path, json=None if method == "GET" else {})
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path
    for other in GROUPS.keys() - {group}:
        method, path = GROUPS[other][0]
        assert (await http.request(method, path, json={})).status_code != 404 or other == "runs", path
    assert (await http.get("/ok")).json()["ok"] is True


async def test_groups_that_are_switched_off_are_not_documented(serve: Any) -> None:
    paths = (await serve(disable_runs=True, disable_assistants=True).get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if "/runs" in path or path.startswith("/assistants")]
    assert {"/threads", "/threads/{thread_id}/stream", "/ok"} <= set(paths)


async def test_without_meta_health_checks_nothing(serve: Any) -> None:
    answer = await serve(disable_meta=True).get("/ok?check_db=1")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "services": {}})


async def test_without_ui_there_are_no_pages_but_the_documentation(serve: Any) -> None:
    http = serve(disable_ui=True)
    for path in ("/dashboard/", "/dashboard/sign-in/", "/admin/", "/admin/login/"):
        assert (await http.get(path)).status_code == 404
    for path in ("/docs", "/static/ninja/swagger-ui.css"):
        assert (await http.get(path)).status_code == 200


async def test_operations_are_found_under_the_prefix_only(serve: Any) -> None:
    http = serve(mount_prefix="/api/v1")
    assert (await http.post("/api/v1/threads", json={})).status_code == 200
    assert (await http.get("/api/v1/ok")).json() == (await http.get("/api/v1/")).json()
    assert (await http.get("/api/v1")).status_code == 200
    for path in ("/threads", "/api/threads", "/api/v1threads", "/api/v1x/threads", "/"):
        answer = await http.post(path, json={})
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path


async def test_health_and_pages_need_no_prefix(serve: Any) -> None:
    http = serve(mount_prefix="/api")
    assert (await http.get("/ok")).status_code == 200
    assert (await http.get("/static/css/base.css")).status_code == 200
    assert (await http.get("/dashboard/")).status_code in (200, 302)


async def test_redirects_and_locations_carry_the_prefix(serve: Any) -> None:
    answer = await serve(mount_prefix="/api").post("/api/threads/search/?x=1", json={})
    assert (answer.status_code, answer.headers["location"]) == (307, "/api/threads/search?x=1")


async def test_a_location_behind_a_base_url_with_the_prefix_is_found(serve: Any) -> None:
    http = serve(mount_prefix="/api")
    assert (await http.post("/api/api/threads/search", json={})).status_code == 200


async def test_a_prefix_may_be_the_name_of_a_group(serve: Any) -> None:
    http = serve(mount_prefix="/threads")
    made = (await http.post("/threads/threads", json={})).json()
    assert (await http.get(f"/threads/threads/{made['thread_id']}")).json() == made


async def test_the_documentation_is_of_the_prefix(serve: Any) -> None:
    http = serve(mount_prefix="/api")
    assert (await http.get("/api/openapi.json")).json()["servers"] == [{"url": "/api"}]
    assert '"/api/openapi.json"' in (await http.get("/api/docs")).text.replace("\\u002F", "/").replace("&quot;", '"')


@pytest.mark.parametrize("prefix", ["api", "/api/", "/", "/dashboard", "/static/x", "/a//b", "/a?b", "/a b"])
def test_a_prefix_that_cannot_be(prefix: str) -> None:
    with pytest.raises(ValueError, match="expected a path"):
        Http(mount_prefix=prefix)

"""A real server: what the API stores graphs find, and the other way round, with an index and times to live."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests import live

PROJECT = Path(__file__).resolve().parent / "project" / "langgraph.json"


@pytest.fixture(scope="module")
def on_sqlite(start_server: Callable[..., live.LiveServer]) -> live.LiveServer:
    return start_server(PROJECT, LOG_LEVEL="info")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def api(request: pytest.FixtureRequest, start_server: Callable[..., live.LiveServer]) -> Iterator[httpx.Client]:
    if request.param == "sqlite":
        with httpx.Client(base_url=request.getfixturevalue("on_sqlite").url, timeout=60) as client:
            yield client
        return
    server = start_server(PROJECT, DATABASE_URL=request.getfixturevalue("postgres_url"))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
    server.stop()


@pytest.fixture
def place() -> list[str]:
    """A namespace of the test's own."""
    return ["server", uuid4().hex]


def put(api: httpx.Client, place: list[str], key: str, value: dict[str, Any], **more: Any) -> httpx.Response:
    return api.put("/store/items", json={"namespace": place, "key": key, "value": value, **more})


def search(api: httpx.Client, place: list[str], **more: Any) -> list[Any]:
    answer = api.post("/store/items/search", json={"namespace_prefix": place, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def ran(api: httpx.Client, **given: Any) -> dict[str, Any]:
    answer = api.post("/runs/wait", json={"assistant_id": "keeper", "input": given})
    assert answer.status_code == 200
    state: dict[str, Any] = answer.json()
    return state


def test_graphs_and_the_api_see_the_same_items(api: httpx.Client, place: list[str]) -> None:
    assert put(api, [*place, "api"], "by hand", {"text": "ab", "x": 1}).status_code == 204

    state = ran(api, put=[[[*place, "graph"], "by graph", {"text": "b", "x": 2}]], search={"prefix": place})
    items = search(api, place)

    assert [found[:3] for found in state["found"]] == [
        [[*place, "api"], "by hand", {"text": "ab", "x": 1}],
        [[*place, "graph"], "by graph", {"text": "b", "x": 2}],
    ]
    assert [[item["namespace"], item["key"], item["value"]] for item in items] == [row[:3] for row in state["found"]]
    assert [*place, "api"] in state["namespaces"]
    assert [*place, "graph"] in api.post("/store/namespaces", json={"prefix": place}).json()["namespaces"]


def test_both_find_by_meaning(api: httpx.Client, place: list[str]) -> None:
    for key, text in (("far", "abcd"), ("near", "aab"), ("nearest", "a"), ("hidden", "a")):
        put(api, place, key, {"text": text}, **({"index": False} if key == "hidden" else {}))

    state = ran(api, search={"prefix": place, "query": "aa"})
    items = search(api, place, query="aa")

    assert [item["key"] for item in items] == ["nearest", "near", "far"]
    assert [item["score"] for item in items] == [1.0, pytest.approx(0.894427, abs=1e-6), pytest.approx(0.5)]
    assert [[found[1], found[3]] for found in state["found"]] == [[item["key"], item["score"]] for item in items]
    assert [item["key"] for item in search(api, place, query="aa", limit=1, offset=1)] == ["near"]
    assert [item["score"] for item in search(api, place)] == [None] * 4


def test_a_vector_of_another_length_is_an_error_that_says_so(api: httpx.Client, place: list[str]) -> None:
    answer = put(api, place, "k", {"text": "wrong"})
    asked = api.post("/store/items/search", json={"namespace_prefix": place, "query": "wrong"})
    state = ran(api, put=[[place, "k", {"text": "wrong"}]])

    assert answer.status_code == asked.status_code == 503
    assert "made a vector of 1 numbers, but `store.index.dims` is 4" in answer.json()["detail"]
    assert state["__error__"]["error"] == "EmbeddingFailed"
    assert search(api, place) == []


def test_an_item_expires_is_absent_and_swept(on_sqlite: live.LiveServer, place: list[str]) -> None:
    with httpx.Client(base_url=on_sqlite.url, timeout=60) as api:
        put(api, place, "soon", {"text": "a"}, ttl=0.0005)
        put(api, place, "never", {"text": "a"}, ttl=None)
        where = {"namespace": ".".join(place), "key": "soon", "refresh_ttl": "true"}
        while api.get("/store/items", params={**where, "refresh_ttl": "false"}).json() is not None:
            time.sleep(0.01)
        assert api.get("/store/items", params=where).json() is None
        assert [item["key"] for item in search(api, place, refresh_ttl=True)] == ["never"]


def test_a_run_that_blocks_the_loop_of_graphs_does_not_hold_up_the_store(api: httpx.Client, place: list[str]) -> None:
    put(api, place, "k", {"text": "a"})
    run = api.post("/threads", json={}).json()["thread_id"]
    begun = api.post(f"/threads/{run}/runs", json={"assistant_id": "blocking", "input": {"put": []}}).json()
    path = f"/threads/{run}/runs/{begun['run_id']}"
    while api.get(path).json()["status"] == "pending":
        time.sleep(0.01)

    assert [item["key"] for item in search(api, place, query="a")] == ["k"]
    assert put(api, place, "k2", {"text": "b"}).status_code == 204
    # The node still sleeps: none of these has waited for it.
    assert api.get(path).json()["status"] == "running"


def test_items_survive_a_kill(start_server: Callable[..., live.LiveServer], place: list[str]) -> None:
    server = start_server(PROJECT)
    with httpx.Client(base_url=server.url, timeout=60) as api:
        put(api, place, "k", {"text": "a"})
        server.kill()
        server.start()
        assert [item["score"] for item in search(api, place, query="a")] == [1.0]
    server.stop()


def test_a_large_body_and_a_large_answer(api: httpx.Client, place: list[str]) -> None:
    text = "x" * 24_000_000
    assert put(api, place, "k", {"n": text}).status_code == 204
    assert api.get("/store/items", params={"namespace": ".".join(place), "key": "k"}).json()["value"]["n"] == text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/store/items", {"namespace": ["a.b"], "key": "k", "value": {}}),
        ("DELETE", "/store/items", {"namespace": ["a.b"], "key": "k"}),
        ("POST", "/store/items/search", {"namespace_prefix": ["a.b"]}),
        ("POST", "/store/namespaces", {"prefix": ["a.b"]}),
        ("POST", "/store/namespaces", {"suffix": ["x", "a.b"]}),
    ],
)
def test_a_label_with_a_dot_is_refused_in_bare_text(
    on_sqlite: live.LiveServer, method: str, path: str, body: dict[str, Any]
) -> None:
    answer = httpx.request(method, on_sqlite.url + path, json=body)
    assert (answer.status_code, answer.text) == (
        422,
        "Namespace label 'a.b' must be a non-empty string without periods",
    )
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("query", ["key=k", "namespace=&key=k", "namespace=a..b&key=k"])
def test_a_get_without_a_namespace_names_the_empty_label(on_sqlite: live.LiveServer, query: str) -> None:
    answer = httpx.get(f"{on_sqlite.url}/store/items?{query}")
    assert (answer.status_code, answer.text) == (422, "Namespace label '' must be a non-empty string without periods")


def test_the_smaller_rules(on_sqlite: live.LiveServer, place: list[str]) -> None:
    with httpx.Client(base_url=on_sqlite.url, timeout=60) as api:
        dotted = ".".join(place)
        assert put(api, place, "", {"text": "a"}).status_code == 204
        assert api.get(f"/store/items?namespace={dotted}&key=").json()["value"] == {"text": "a"}
        missing = api.get(f"/store/items?namespace={dotted}")
        assert (missing.status_code, missing.json()) == (400, {"error": "Key is required"})
        # What no item can be under can also be deleted.
        assert api.request("DELETE", "/store/items", json={"key": "k"}).status_code == 204
        for number in range(12):
            put(api, place, f"k{number}", {})
        assert len(search(api, place)) == len(search(api, place, limit=0)) == 10
        assert len(api.post("/store/items/search", json={}).json()["items"]) == 10
        unknown = api.post("/store/items/search", json={"namespace_prefix": place, "filter": {"x": {"$in": [1]}}})
        assert (unknown.status_code, unknown.json()) == (400, {"detail": "Unsupported operator: $in"})
        assert search(api, ["nowhere"], filter={"x": {"$in": [1]}}) == []

"""What every operation on assistants answers to input it cannot take: never 500, always one sentence."""

from typing import Any

import pytest

from tests.api_client import ApiClient

UNKNOWN = "5f3c1a52-94b1-4d0e-9c1d-3f6a8d6f0a11"
WITH_BODY = [
    ("POST", "/assistants"),
    ("POST", "/assistants/search"),
    ("POST", "/assistants/count"),
    ("PATCH", f"/assistants/{UNKNOWN}"),
    ("POST", f"/assistants/{UNKNOWN}/versions"),
    ("POST", f"/assistants/{UNKNOWN}/latest"),
]
WITH_ID = [
    ("GET", "/assistants/{}"),
    ("PATCH", "/assistants/{}"),
    ("DELETE", "/assistants/{}"),
    ("POST", "/assistants/{}/versions"),
    ("POST", "/assistants/{}/latest"),
    ("GET", "/assistants/{}/graph"),
    ("GET", "/assistants/{}/schemas"),
    ("GET", "/assistants/{}/subgraphs"),
    ("GET", "/assistants/{}/subgraphs/x"),
]


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"{'a': 1}", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b" "]
)
async def test_no_json(api: ApiClient, method: str, path: str, body: bytes) -> None:
    answer = await api.request(method, path, content=body)
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid JSON in request body"})


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize("body", ["[]", "null", "1", '"x"', "true"])
async def test_json_of_another_type(api: ApiClient, method: str, path: str, body: str) -> None:
    answer = await api.request(method, path, content=body)
    assert (answer.status_code, answer.json()) == (422, {"detail": f'{body} is not of type "object"'})


@pytest.mark.parametrize(("method", "path"), WITH_ID)
@pytest.mark.parametrize("bad", ["bad", "0" * 32, "%00", "{" + UNKNOWN[1:-1] + "}", UNKNOWN + "0", "é"])
async def test_id_that_is_no_uuid(api: ApiClient, method: str, path: str, bad: str) -> None:
    answer = await api.request(method, path.format(bad), content=b"{}")
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid assistant ID: must be a UUID"})


CREATE: list[tuple[dict[str, Any], str]] = [
    ({}, '"graph_id" is a required property'),
    ({"graph_id": 5}, '5 is not of type "string"'),
    ({"graph_id": None}, 'null is not of type "string"'),
    ({"graph_id": "chat", "if_exists": "x"}, '"x" is not one of "raise" or "do_nothing"'),
    ({"graph_id": "chat", "if_exists": None}, 'null is not one of "raise" or "do_nothing"'),
    ({"graph_id": "chat", "assistant_id": "bad"}, "Invalid assistant ID: must be a UUID"),
    ({"graph_id": "chat", "assistant_id": 5}, '5 is not of type "string"'),
    ({"graph_id": "chat", "assistant_id": None}, 'null is not of type "string"'),
    ({"graph_id": "chat", "name": None}, 'null is not of type "string"'),
    ({"graph_id": "chat", "name": "x" * 501}, "is longer than 500 characters"),
    ({"graph_id": "chat", "description": 1}, '1 is not of type "string"'),
    ({"graph_id": "chat", "metadata": None}, 'null is not of type "object"'),
    ({"graph_id": "chat", "metadata": [1]}, '[1] is not of type "object"'),
    ({"graph_id": "chat", "context": "x"}, '"x" is not of type "object"'),
    ({"graph_id": "chat", "config": None}, 'null is not of type "object"'),
    ({"graph_id": "chat", "config": {"configurable": 1}}, '1 is not of type "object"'),
    ({"graph_id": "chat", "config": {"tags": "x"}}, '"x" is not of type "array"'),
    ({"graph_id": "chat", "config": {"tags": [1]}}, '1 is not of type "string"'),
    ({"graph_id": "chat", "config": {"recursion_limit": "1"}}, '"1" is not of type "integer"'),
    ({"graph_id": "chat", "config": {"recursion_limit": True}}, 'true is not of type "integer"'),
]
SEARCH: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "0 is less than the minimum of 1"),
    ({"limit": 1001}, "1001 is greater than the maximum of 1000"),
    ({"limit": "1"}, '"1" is not of type "integer"'),
    ({"limit": 1.5}, '1.5 is not of type "integer"'),
    ({"limit": None}, 'null is not of type "integer"'),
    ({"offset": -1}, "-1 is less than the minimum of 0"),
    ({"offset": 2**63}, f"{2**63} is greater than the maximum of"),
    ({"metadata": None}, 'null is not of type "object"'),
    ({"graph_id": None}, 'null is not of type "string"'),
    ({"name": 1}, '1 is not of type "string"'),
    ({"sort_by": "zz"}, '"zz" is not one of "assistant_id", "created_at" or 3 other candidates'),
    ({"sort_order": "up"}, '"up" is not one of "asc" or "desc"'),
    ({"select": ["zz"]}, '"zz" is not one of "assistant_id", "graph_id" or 8 other candidates'),
    ({"select": "name"}, '"name" is not of type "array"'),
    ({"select": None}, 'null is not of type "array"'),
]


@pytest.mark.parametrize(("body", "detail"), CREATE)
async def test_create(api: ApiClient, body: dict[str, Any], detail: str) -> None:
    answer = await api.post("/assistants", json=body)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert (await api.post("/assistants/count", json={})).json() == 0


@pytest.mark.parametrize(("body", "detail"), SEARCH)
async def test_search(api: ApiClient, body: dict[str, Any], detail: str) -> None:
    answer = await api.post("/assistants/search", json=body)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/assistants", "GET, POST"),
        ("DELETE", "/assistants/search", "POST"),
        ("POST", f"/assistants/{UNKNOWN}", "DELETE, GET, PATCH, PUT"),
        ("GET", f"/assistants/{UNKNOWN}/versions", "POST"),
    ],
)
async def test_wrong_method(api: ApiClient, method: str, path: str, allowed: str) -> None:
    answer = await api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("text", ["\x00", "a" * 100_000, "\ud7ff𝕏", "'; DROP TABLE--"])
async def test_strange_text_is_stored_or_refused(api: ApiClient, text: str) -> None:
    body = {"graph_id": "chat", "metadata": {"k": text, text: 1}, "description": text}
    answer = await api.post("/assistants", json=body)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert answer.json()["metadata"] == body["metadata"]


async def test_boolean_query_that_is_none(api: ApiClient) -> None:
    answer = await api.delete(f"/assistants/{UNKNOWN}?delete_threads=maybe")
    assert (answer.status_code, answer.json()) == (422, {"detail": '"maybe" is not of type "boolean"'})


@pytest.mark.parametrize("path", ["/assistants/search", "/assistants/count"])
@pytest.mark.parametrize("character", ["a", "%", "ä"])
async def test_a_name_that_no_pattern_can_hold(api: ApiClient, path: str, character: str) -> None:
    assert (await api.post(path, json={"name": character * 500})).status_code == 200
    answer = await api.post(path, json={"name": character * 100_000})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("is longer than 500 characters")

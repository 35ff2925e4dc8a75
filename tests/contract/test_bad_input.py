"""Bad input is answered with the contract's status and body by every operation, and never with a 500."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests import live
from tests.contract import due
from tests.contract.coverage import CONTRACT, server_document
from tests.contract.operations import (
    ANSWERS,
    CRON,
    ENDLESS,
    OPERATIONS,
    REFUSED,
    RUN,
    UNCHECKED_BY_REFERENCE,
    UNKNOWN,
    Operation,
)

WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
WITH_OBJECT = [operation for operation in WITH_BODY if isinstance(operation.body, dict)]
# Bodies are looked at by these as well, but nothing is asked of the caller or of what is there.
SYSTEM = {"/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"}


@dataclass
class Things:
    """What the paths of requests name."""

    http: httpx.Client
    ids: dict[str, str]

    def fill(self, text: str) -> str:
        for name, value in self.ids.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def ask(self, operation: str, body: Any = None) -> httpx.Response:
        method, path = operation.split(" ", 1)
        if isinstance(body, dict) and isinstance(body.get("assistant_id"), str):
            body = {**body, "assistant_id": self.fill(body["assistant_id"])}
        arguments = {} if body is None else {"json": body}
        return self.http.request(method, self.fill(path), **arguments)


def make_things(http: httpx.Client) -> Things:
    """An assistant, a thread with state, a finished run and a cron."""
    empty, thread = (http.post("/threads", json={}).json()["thread_id"] for _ in range(2))
    http.post(f"/threads/{thread}/runs/wait", json=RUN)
    run = http.get(f"/threads/{thread}/runs").json()[0]["run_id"]
    assistant = http.post("/assistants", json={"graph_id": "counter"}).json()["assistant_id"]
    cron = http.post("/runs/crons", json=CRON).json()["cron_id"]
    return Things(http, {"a": assistant, "e": empty, "t": thread, "r": run, "c": cron, "u": UNKNOWN})


@pytest.fixture(scope="module")
def things(server: live.LiveServer | live.RunningServer) -> Iterator[Things]:
    """For requests that change nothing."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        yield make_things(http)


@pytest.fixture
def own_things(http: httpx.Client) -> Things:
    """For requests of which some are served."""
    return make_things(http)


def with_field(operation: Operation, name: str, value: Any) -> Any:
    """An accepted body with one more field."""
    if isinstance(operation.body, list):
        return [{**item, name: value} for item in operation.body]
    return {**(operation.body or {}), name: value}


def fields_of(operation: Operation) -> list[str]:
    """The fields of the contract's body."""
    names = {"a": "assistant_id", "e": "thread_id", "t": "thread_id", "r": "run_id", "c": "cron_id"}
    path = re.sub(r"\{(\w)\}", lambda found: "{" + names[found[1]] + "}", operation.path)
    return [name for name in CONTRACT[f"{operation.method} {path}"]["body"] if "." not in name]


def first_line(response: httpx.Response) -> str:
    detail = response.json()["detail"]
    assert isinstance(detail, str), "a detail is a string, never a list"
    return detail.split("\n\nFailed validating")[0]


def test_every_operation_is_in_the_table() -> None:
    def known(path: str) -> str:
        return re.sub(r"\{\w+\}|(?<=/state/)x$|(?<=/subgraphs/)x$", "{}", path)

    table = {f"{operation.method} {known(operation.path)}" for operation in OPERATIONS}
    paths = server_document().content["paths"]
    served = {f"{m.upper()} {known(path)}" for path in paths if path not in SYSTEM for m in paths[path]}
    assert served == table


def with_bad_ids() -> list[tuple[Operation, str, str]]:
    kinds = {"a": "assistant", "e": "thread", "t": "thread", "r": "run", "c": "cron"}
    return [
        (operation, placeholder, kind)
        for operation in OPERATIONS
        for placeholder, kind in kinds.items()
        # The graph of an assistant is also found by the name of a graph.
        if f"{{{placeholder}}}" in operation.path and operation.path != "/assistants/{a}/graph"
    ]


@pytest.mark.parametrize(("operation", "placeholder", "kind"), with_bad_ids(), ids=str)
@pytest.mark.parametrize("bad", ["bad", "123"])
def test_path_id_that_is_no_uuid(things: Things, operation: Operation, placeholder: str, kind: str, bad: str) -> None:
    path = operation.path.replace(f"{{{placeholder}}}", bad)
    answer = things.ask(f"{operation.method} {path}", operation.body)
    assert answer.status_code == 422, answer.text[:300]
    # The recorded server leaves out the second half where runs are made.
    expected = f"Invalid {kind} ID: must be a UUID"
    assert first_line(answer) in ((expected, f"Invalid {kind} ID") if operation.body == RUN else (expected,))


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
@pytest.mark.parametrize("content", [b"", b"{bad", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": 1} x'], ids=repr)
def test_body_that_is_no_json(things: Things, operation: Operation, content: bytes) -> None:
    answer = things.http.request(operation.method, things.fill(operation.path), content=content)
    assert (answer.status_code, first_line(answer)) == (422, "Invalid JSON in request body")


@pytest.mark.parametrize("operation", WITH_OBJECT, ids=str)
@pytest.mark.parametrize("content", ["[]", "null", "5", '"text"'])
def test_body_that_is_no_object(things: Things, operation: Operation, content: str) -> None:
    answer = things.http.request(operation.method, things.fill(operation.path), content=content)
    assert (answer.status_code, first_line(answer)) == (422, f'{content} is not of type "object"')


@pytest.mark.parametrize(("operation", "body", "line"), REFUSED, ids=repr)
def test_body_that_is_refused(things: Things, operation: str, body: dict[str, Any], line: str | None) -> None:
    if "SERVER_URL" in os.environ and "/runs" in operation and body.keys() & UNCHECKED_BY_REFERENCE:
        pytest.skip("not checked by the recorded server")
    answer = things.ask(operation, body)
    assert answer.status_code == 422, answer.text[:300]
    assert line is None or first_line(answer) == line


@pytest.mark.parametrize(("operation", "body", "status", "detail"), ANSWERS, ids=repr)
def test_request_for_what_is_not_there(
    things: Things, operation: str, body: Any, status: int, detail: str | None
) -> None:
    answer = things.ask(operation, body)
    assert answer.status_code == status, answer.text[:300]
    assert detail is None or first_line(answer) == things.fill(detail)


@pytest.mark.parametrize("path", ["/threads/{t}/runs/{u}/join", "/threads/{u}/runs/{r}/join"])
def test_join_of_an_unknown_run_is_an_error_in_the_body(things: Things, path: str) -> None:
    answer = things.ask(f"GET {path}")
    assert answer.status_code == 200
    assert answer.json() == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}


@pytest.mark.parametrize("path", ["/threads/{t}/runs/{u}/stream", "/threads/{u}/runs/{r}/stream"])
def test_stream_of_an_unknown_run_is_an_error_event(things: Things, path: str) -> None:
    answer = things.ask(f"GET {path}")
    assert answer.status_code == 200
    assert answer.text.startswith('event: error\r\ndata: {"error":"HTTPException","message":"404: Run not found"}\r\n')


def test_unknown_checkpoint_is_an_empty_state_that_echoes_the_id(things: Things) -> None:
    state = things.ask("GET /threads/{t}/state/nope").json()
    assert (state["values"], state["next"], state["checkpoint"]["checkpoint_id"]) == ({}, [], "nope")


@pytest.mark.parametrize(
    ("query", "count"), [("limit=0", 0), ("limit=1001", 1), ("status=zz", 0), ("status=success", 1)]
)
def test_list_of_runs_takes_any_limit_and_status(own_things: Things, query: str, count: int) -> None:
    answer = own_things.ask(f"GET /threads/{{t}}/runs?{query}")
    assert (answer.status_code, len(answer.json())) == (200, count)


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_unknown_fields_are_ignored(own_things: Things, operation: Operation) -> None:
    answer = own_things.ask(f"{operation.method} {operation.path}", with_field(operation, "no_such_field", 5))
    # Nothing is pending that could be cancelled.
    expected = (404,) if operation.path == "/runs/cancel" else (200, 204)
    assert answer.status_code in expected, answer.text[:300]


REFUSED_FIELDS = {**due.REFUSED_FOR_GOOD, **due.REFUSED_UNTIL_DUE}


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize(
    ("operation", "field"),
    [(operation, field) for operation in WITH_BODY for field in REFUSED_FIELDS if field in fields_of(operation)],
    ids=str,
)
def test_field_that_is_not_supported_is_refused_by_name(things: Things, operation: Operation, field: str) -> None:
    answer = things.ask(f"{operation.method} {operation.path}", with_field(operation, field, REFUSED_FIELDS[field]))
    assert answer.status_code == 422, answer.text[:300]
    assert first_line(answer).startswith(f"`{field}` is not ")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{}", '{} is not of type "array"'),
        ("[]", "[] has less than 1 item"),
        ('[{"assistant_id":"counter"},5]', '5 is not of type "object"'),
        ('[{"assistant_id":"counter"},{"assistant_id":"nope"}]', None),
    ],
)
def test_batch_that_is_refused(http: httpx.Client, content: str, line: str | None) -> None:
    answer = http.post("/runs/batch", content=content)
    assert answer.status_code == 422, answer.text[:300]
    assert line is None or first_line(answer) == line


def test_content_type_is_not_looked_at(http: httpx.Client) -> None:
    answer = http.post("/threads/count", content="{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200


def test_wrong_method_names_the_right_ones(http: httpx.Client) -> None:
    answer = http.get("/threads")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/assistants/search/", "/threads/count/"])
def test_trailing_slash_is_redirected(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={}, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].endswith(path.rstrip("/"))


HOSTILE: list[Any] = [
    None,
    "",
    "\x00",
    "😀" * 50,
    -1,
    0,
    2**31,
    2**63,
    1e308,
    True,
    [],
    [None],
    {},
    {"": {"\x00": None}},
    {"a": [[[[[[[[]]]]]]]]},
]
QUERIES = ["limit", "offset", "before", "status", "select", "xray", "recurse", "subgraphs", "stream_mode"]


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_hostile_values_are_never_a_server_error(own_things: Things, operation: Operation) -> None:
    for field in fields_of(operation):
        for value in HOSTILE:
            if field == "after_seconds" and isinstance(value, int | float) and value > 1:
                continue
            answer = own_things.ask(f"{operation.method} {operation.path}", with_field(operation, field, value))
            assert answer.status_code < 500, (field, value, answer.text[:300])


@pytest.mark.usefixtures("not_the_reference")
@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.method == "GET" and o.path != ENDLESS], ids=str)
def test_hostile_queries_are_never_a_server_error(own_things: Things, operation: Operation) -> None:
    for name in QUERIES:
        for value in ("", "x", "-1", "9" * 30, "%00", "%F0%9F%98%80", "null"):
            answer = own_things.ask(f"GET {operation.path}?{name}={value}")
            assert answer.status_code < 500, (name, value, answer.text[:300])


@pytest.mark.usefixtures("not_the_reference")
def test_deeply_nested_body_is_never_a_server_error(http: httpx.Client) -> None:
    for depth in (500, 100_000):
        nested = '{"metadata":' + '{"a":' * depth + "1" + "}" * depth + "}"
        assert http.post("/threads", content=nested).status_code < 500
    # What JSON's reader takes and its writer does not.
    for path in ("/threads", "/assistants", "/runs/crons"):
        for column in ("metadata", "values"):
            nested = f'{{"{column}":' + '{"a":' * 300 + "1" + "}" * 300 + "}"
            assert http.post(f"{path}/search", content=nested).status_code < 500


@pytest.mark.usefixtures("not_the_reference")
def test_lone_surrogate_is_never_a_server_error(http: httpx.Client) -> None:
    for path in ("/threads", "/threads/search"):
        assert http.post(path, content=b'{"metadata":{"a":"\\ud800"}}').status_code < 500


@pytest.mark.usefixtures("not_the_reference")
def test_body_over_the_limit_is_refused(http: httpx.Client) -> None:
    answer = http.post("/threads/search", content=b" " * 25_100_000)
    assert answer.status_code == 413

"""Who may only read changes nothing: whatever is asked, and wherever the reader hangs up.

Role `viewer`, and a key with the scope `*:read`. Compared is every row of every table; only the columns that a clock
moves are left out (`places`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.coverage import Document, server_document
from tests.contract.operations import ENDLESS, OPERATIONS, Operation
from tests.tenants.attack import fill, operation_name
from tests.tenants.coverage import COVERED, Kind
from tests.tenants.places import Place, changes
from tests.tenants.victim import client, until

pytestmark = [pytest.mark.postgres]

DOCUMENT: Document = server_document()
READING = [operation for operation in OPERATIONS if COVERED[operation_name(operation)] is Kind.READS]
WRITING = [operation for operation in OPERATIONS if COVERED[operation_name(operation)] is Kind.WRITES]
FOLLOWING = [operation for operation in READING if operation.path.endswith(("/stream", "/join"))]
# Every parameter of any operation: what one does not know must not do anything in it either.
ALL_FLAGS = {"refresh_ttl": "true", "cancel_on_disconnect": "true", "delete_threads": "true", "wait": "true",
             "action": "rollback"}  # fmt: skip
READERS = ("viewer", "reading")


@pytest.fixture(scope="module")
def things(place: Place) -> Iterator[dict[str, str]]:
    """Something of everything, none of it at work."""
    with client(place, "victim", "admin") as http:

        def post(path: str, body: Any, method: str = "POST") -> Any:
            answer = http.request(method, path, json=body)
            assert answer.status_code < 300, answer.text
            return answer.json() if answer.content else None

        empty, thread = (post("/threads", {})["thread_id"] for _ in range(2))
        run = {"assistant_id": "report", "input": {"asked": "x"}}
        post(f"/threads/{thread}/runs/wait", {**run, "stream_resumable": True})
        post("/store/items", {"namespace": ["n"], "key": "k", "value": {"a": 1}, "ttl": 60}, "PUT")
        found = {
            "a": post("/assistants", {"graph_id": "report"})["assistant_id"],
            "e": empty,
            "t": thread,
            "r": http.get(f"/threads/{thread}/runs").json()[0]["run_id"],
            "c": post("/runs/crons", {**run, "schedule": "0 0 1 1 *"})["cron_id"],
            "checkpoint": http.get(f"/threads/{thread}/state").json()["checkpoint"]["checkpoint_id"],
        }
        yield found


@pytest.fixture
def held(place: Place, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A run at work, and its thread."""
    gate = tmp_path / "open"
    with client(place, "victim", "admin") as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        asked = {"assistant_id": "held", "input": {"asked": str(gate)}}
        run = http.post(f"/threads/{thread}/runs", json=asked).json()["run_id"]
        # Its node waits, so that its checkpoints are written.
        until(lambda: http.get(f"/threads/{thread}/state").json()["next"] not in ([], ["__start__"]))
        yield {"t": thread, "r": run}
        gate.touch()
        http.get(f"/threads/{thread}/runs/{run}/join")


def values_of(schema: dict[str, Any]) -> list[Any]:
    """Values that a parameter or field may have."""
    found: list[Any] = []
    for choice in DOCUMENT.resolved(schema):
        if "items" in choice:
            found += [[value] for value in values_of(choice["items"])]
        elif "enum" in choice or "const" in choice:
            found += choice.get("enum", [choice.get("const")])
        else:
            plain: dict[str, list[Any]] = {"boolean": [True, False], "integer": [1, 7], "string": ["k"]}
            found += plain.get(choice.get("type", ""), [])
    return found


def queries_of(operation: Operation) -> list[dict[str, Any]]:
    """One parameter at a time, with each of its values; then all flags there are."""
    known = DOCUMENT.operation(operation_name(operation)) or {}
    own = {found["name"]: found["schema"] for found in known.get("parameters", ()) if found["in"] == "query"}
    needed = {"namespace": "n", "key": "k"} if operation.path == "/store/items" else {}
    plain = [{**needed, name: _text(value)} for name, schema in own.items() for value in values_of(schema)]
    return [needed, *plain, {**needed, **ALL_FLAGS}]


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def bodies_of(operation: Operation) -> list[Any]:
    """The plain body, then one field at a time with each of its values."""
    if operation.body is None:
        return [None]
    known = DOCUMENT.operation(operation_name(operation)) or {}
    [schema, *_] = [media["schema"] for media in known["requestBody"]["content"].values()]
    assert isinstance(operation.body, dict)
    fields = {name: field for choice in DOCUMENT.resolved(schema) for name, field in choice["properties"].items()}
    changed = [{**operation.body, name: value} for name, field in fields.items() for value in values_of(field)]
    return [operation.body, *changed]


def path_of(operation: Operation, things: dict[str, str]) -> str:
    path = fill(operation.path, things)
    return path.replace("/state/x", f"/state/{things['checkpoint']}")


def streams_open(http: httpx.Client) -> float:
    """How many answers of the server are under way."""
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("switchyard_streams_open"))


@pytest.mark.parametrize("operation", [one for one in READING if one not in FOLLOWING], ids=str)
def test_reading_changes_nothing(place: Place, things: dict[str, str], operation: Operation) -> None:
    before, served = place.everything(), 0
    for reader in READERS:
        with client(place, "victim", reader) as http:
            for query in queries_of(operation):
                for body in bodies_of(operation):
                    options: dict[str, Any] = {} if body is None else {"json": body}
                    answer = http.request(operation.method, path_of(operation, things), params=query, **options)
                    assert answer.status_code not in (401, 403) or query or body != operation.body
                    assert answer.status_code < 500, answer.text
                    served += answer.status_code == 200
    assert served or operation.path.endswith("/subgraphs/x")
    assert changes(before, place.everything()) == {}


@pytest.mark.parametrize("operation", FOLLOWING, ids=str)
def test_hanging_up_changes_nothing(place: Place, held: dict[str, str], operation: Operation) -> None:
    """The run is at work before, and afterwards."""
    before = place.everything()
    path = fill(operation.path, held)
    for reader in READERS:
        with client(place, "victim", reader) as http:
            for query in queries_of(operation):
                with http.stream("GET", path, params=query) as answer:
                    assert answer.status_code in ((200, 403) if query else (200,)) or operation.path == ENDLESS
            # Until the server has seen that nobody listens any more.
            until(lambda http=http: streams_open(http) == 0)
    assert changes(before, place.everything()) == {}


@pytest.mark.parametrize("operation", WRITING, ids=str)
def test_writing_is_refused(place: Place, things: dict[str, str], operation: Operation) -> None:
    before = place.everything()
    for reader in READERS:
        with client(place, "victim", reader) as http:
            for query in ({}, ALL_FLAGS):
                answer = http.request(operation.method, path_of(operation, things), json=operation.body, params=query)
                assert answer.status_code == 403, answer.text
    assert changes(before, place.everything()) == {}

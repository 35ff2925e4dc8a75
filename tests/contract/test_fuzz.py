"""Schemathesis over the server's own OpenAPI document: whatever is sent, the answer is one that the document promises.

Fitting and unfitting requests are made from the document itself, the same ones in every run of the tests.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import live
from tests.contract.coverage import server_document

AnyCase = Case[Any]
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Never ends; tests/client has tests of its own for it.
ENDLESS = {"GET /threads/{thread_id}/stream"}
PATHS: dict[str, dict[str, Any]] = server_document().content["paths"]
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, operations in PATHS.items()
    for method in operations
    if f"{method.upper()} {path}" not in ENDLESS
]
EXAMPLES = 30
# The status of every answer.
sent: Counter[int] = Counter()


def modes(operation: str) -> list[str]:
    """What can be sent: nothing does not fit where nothing is asked for."""
    method, path = operation.split(" ")
    known = PATHS[path][method.lower()]
    return ["positive", "negative"] if known.get("parameters") or "requestBody" in known else ["positive"]


@pytest.fixture(scope="module")
def fuzzed_server(start_server: Callable[..., live.LiveServer]) -> live.LiveServer:
    """A server of its own: what is left on it is nobody's business."""
    return start_server(live.CONTRACT_CONFIG, LOG_LEVEL="warning")


@pytest.fixture(scope="module")
def schema(fuzzed_server: live.LiveServer) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{fuzzed_server.url}/openapi.json")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def make_ids(fuzzed_server: live.LiveServer) -> Iterator[Callable[[], dict[str, str]]]:
    """Make an assistant, a thread with state, a finished run of it and a cron; ids by the names of path parameters."""
    with httpx.Client(base_url=fuzzed_server.url, timeout=30) as http:

        def make() -> dict[str, str]:
            assistant = http.post("/assistants", json={"graph_id": "counter"}).json()["assistant_id"]
            thread = http.post("/threads", json={}).json()["thread_id"]
            run = http.post(f"/threads/{thread}/runs", json={"assistant_id": assistant, "input": {"count": 1}})
            http.get(f"/threads/{thread}/runs/{run.json()['run_id']}/join")
            cron = http.post("/runs/crons", json={"assistant_id": assistant, "schedule": "0 0 1 1 *"})
            state = http.get(f"/threads/{thread}/state").json()
            return {
                "assistant_id": assistant,
                "thread_id": thread,
                "run_id": run.json()["run_id"],
                "cron_id": cron.json()["cron_id"],
                "checkpoint_id": state["checkpoint_id"],
                "namespace": "child",
            }

        yield make


def aimed(case: AnyCase, ids: dict[str, str]) -> AnyCase:
    """The case with ids of what there is in place of random ones, and without a wish to start in a thousand years."""
    for name, value in case.path_parameters.items():
        if isinstance(value, str) and len(value) == len(ids["thread_id"]):
            case.path_parameters[name] = ids.get(name, value)
    body: Any = case.body
    for item in body if isinstance(body, list) else [body]:
        if isinstance(item, dict):
            aim(item, ids, makes_ids=case.path in ("/threads", "/assistants"))
    return case


def aim(body: dict[str, Any], ids: dict[str, str], *, makes_ids: bool) -> None:
    if isinstance(body.get("after_seconds"), int | float) and body["after_seconds"] > 0:
        body["after_seconds"] = 0.01
    if isinstance(body.get("schedule"), str):
        body["schedule"] = "0 0 1 1 *"
    if isinstance(body.get("graph_id"), str):
        body["graph_id"] = "counter"
    for name in () if makes_ids else ("assistant_id", "thread_id"):
        if isinstance(body.get(name), str):
            body[name] = ids[name]


@pytest.mark.parametrize(("operation", "mode"), [(name, mode) for name in OPERATIONS for mode in modes(name)], ids=str)
def test_answers_are_those_that_the_document_promises(
    schema: BaseSchema,
    session: requests.Session,
    fuzzed_server: live.LiveServer,
    make_ids: Callable[[], dict[str, str]],
    operation: str,
    mode: str,
) -> None:
    method, path = operation.split(" ")
    ids = make_ids()
    cases = schema[path][method].as_strategy(generation_mode=GenerationMode(mode))

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: AnyCase) -> None:
        known = make_ids() if method == "DELETE" else ids
        answer = aimed(case, known).call(base_url=fuzzed_server.url, session=session, timeout=30)
        sent[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()


def test_enough_was_sent_and_a_good_part_of_it_served() -> None:
    assert sent.total() >= 2000
    assert sent[200] >= 700

"""Bodies that nest deeper than JSON is written here are refused by every operation, and never with a 500."""

import json

import httpx
import pytest

from tests.contract.operations import OPERATIONS, Operation
from tests.contract.test_bad_input import Things, things

__all__ = ["things"]

pytestmark = pytest.mark.usefixtures("not_the_reference")

WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]


def arrays(levels: int) -> str:
    return "[" * levels + "]" * levels


def objects(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def ask(things: Things, operation: Operation, content: str) -> httpx.Response:
    return things.http.request(operation.method, things.fill(operation.path), content=content.encode())


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
@pytest.mark.parametrize("levels", [255, 400, 1000, 100_000])
def test_a_body_that_is_nothing_but_nesting(things: Things, operation: Operation, levels: int) -> None:
    for content in (arrays(levels), f"[{objects(levels)}]", f"[{','.join([objects(levels)] * 3)}]"):
        answer = ask(things, operation, content)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["detail"]


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
@pytest.mark.parametrize("levels", [255, 1000, 100_000])
def test_a_field_that_nests_in_a_body_that_is_fine_else(things: Things, operation: Operation, levels: int) -> None:
    bodies = operation.body if isinstance(operation.body, list) else [operation.body or {}]
    for field in {key for body in bodies for key in body} | {"metadata", "unknown"}:
        mark = "@nested@"
        changed = [{**body, field: mark} for body in bodies]
        text = json.dumps(changed if isinstance(operation.body, list) else changed[0])
        answer = ask(things, operation, things.fill(text).replace(f'"{mark}"', objects(levels)))
        # What the contract does not know is ignored, however deep it is, as long as it can be read.
        assert answer.status_code < 500, (field, answer.text)
        if levels == 100_000 or (field == "metadata" and field in bodies[0]):
            assert answer.status_code in (400, 404, 422), (field, answer.text)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body is None], ids=str)
def test_operations_without_a_body_never_fail_at_one(things: Things, operation: Operation) -> None:
    if operation.method == "DELETE":
        # Of things that are not there.
        operation = operation._replace(path=operation.path.replace("{t}", "{u}").replace("{a}", "{u}"))
    with things.http.stream(operation.method, things.fill(operation.path), content=arrays(1000).encode()) as answer:
        assert answer.status_code < 500

"""The errors of the API and the sentences of schema validation."""

from typing import Any, Literal

import orjson
import pytest
from pydantic import Field, ValidationError

from platform_site.core import errors
from platform_site.core.errors import ApiError
from platform_site.core.http.handler import error_response
from platform_site.core.validation import ThreadId, path_uuid, validation_detail
from platform_site.core.wire import Schema

TABLE = [
    (errors.BadRequest, 400, "Bad Request"),
    (errors.Unauthorized, 401, "Unauthorized"),
    (errors.Forbidden, 403, "Forbidden"),
    (errors.NotFound, 404, "Not Found"),
    (errors.MethodNotAllowed, 405, "Method Not Allowed"),
    (errors.Conflict, 409, "Conflict"),
    (errors.TooLarge, 413, "Request body is too large"),
    (errors.UnsupportedMediaType, 415, "Unsupported Media Type"),
    (errors.Unprocessable, 422, "Unprocessable Content"),
    (errors.InvalidJSON, 422, "Invalid JSON in request body"),
    (errors.TooManyRequests, 429, "Too Many Requests"),
    (errors.ServiceUnavailable, 503, "Service Unavailable"),
    (errors.InsufficientStorage, 507, "Insufficient Storage"),
]
# Its sentence names what was too large.
WITHOUT_DEFAULT = {errors.StateTooLarge}


def test_table_is_complete() -> None:
    kinds = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ApiError)}
    assert kinds - {ApiError} - WITHOUT_DEFAULT == {kind for kind, _, _ in TABLE}


@pytest.mark.parametrize(("kind", "status", "detail"), TABLE)
def test_status_and_default_sentence(kind: type[ApiError], status: int, detail: str) -> None:
    response = error_response(kind())
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    assert orjson.loads(response.content) == {"detail": detail}


def test_own_sentence_and_headers() -> None:
    response = error_response(errors.NotFound("No such thing", headers={"X-Why": "because"}))
    assert (orjson.loads(response.content), response["X-Why"]) == ({"detail": "No such thing"}, "because")


class Inner(Schema):
    number: int = 0


class Body(Schema):
    text: str = ""
    number: int = Field(default=1, ge=1, le=1000)
    ratio: float = 0.0
    flag: bool = False
    two: Literal["a", "b"] = "a"
    four: Literal["a", "b", "c", "d"] = "a"
    items: list[str] = Field(default=["x"], min_length=1, max_length=2)
    short: str = Field(default="xx", min_length=2, max_length=3)
    inner: Inner = Inner()
    either: list[Literal["values"]] | Literal["values"] = "values"
    thread_id: ThreadId | None = None
    nullable: str | None = None


def detail(body: Any, model: type[Schema] = Body) -> str:
    """What a caller is told about a body, as ninja would collect its errors."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    collected = [{**error, "loc": ("body", "body", *error["loc"])} for error in caught.value.errors()]
    return validation_detail(collected, body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], '[] is not of type "object"'),
        (None, 'null is not of type "object"'),
        ("x", '"x" is not of type "object"'),
        ({"text": 5}, '5 is not of type "string"'),
        ({"text": None}, 'null is not of type "string"'),
        ({"text": {"a": [1]}}, '{"a":[1]} is not of type "string"'),
        ({"number": "1"}, '"1" is not of type "integer"'),
        ({"number": True}, 'true is not of type "integer"'),
        ({"number": 1.5}, '1.5 is not of type "integer"'),
        ({"number": 0}, "0 is less than the minimum of 1"),
        ({"number": 1001}, "1001 is greater than the maximum of 1000"),
        ({"ratio": "x"}, '"x" is not of type "number"'),
        ({"flag": 1}, '1 is not of type "boolean"'),
        ({"two": "c"}, '"c" is not one of "a" or "b"'),
        ({"four": "e"}, '"e" is not one of "a", "b" or 2 other candidates'),
        ({"items": []}, "[] has less than 1 item"),
        ({"items": ["a", "b", "c"]}, '["a","b","c"] has more than 2 items'),
        ({"items": ["a", 1]}, '1 is not of type "string"'),
        ({"items": {}}, '{} is not of type "array"'),
        ({"short": ""}, '"" is shorter than 2 characters'),
        ({"short": "abcd"}, '"abcd" is longer than 3 characters'),
        ({"inner": []}, '[] is not of type "object"'),
        ({"inner": {"number": "x"}}, '"x" is not of type "integer"'),
        ({"either": ["zzz"]}, "[\"zzz\"] is not valid under any of the schemas listed in the 'anyOf' keyword"),
        ({"either": 5}, "5 is not valid under any of the schemas listed in the 'anyOf' keyword"),
        ({"thread_id": "bad"}, "Invalid thread ID: must be a UUID"),
        ({"thread_id": 5}, '5 is not of type "string"'),
        ({"nullable": 5}, '5 is not of type "string"'),
    ],
)
def test_sentence(body: Any, sentence: str) -> None:
    assert detail(body) == sentence


def test_missing_field() -> None:
    class Needs(Schema):
        graph_id: str

    assert detail({}, Needs) == '"graph_id" is a required property'


def test_long_value_is_not_quoted_at_length() -> None:
    assert len(detail({"number": "x" * 100_000})) < 1100


def test_null_is_taken_where_it_is_allowed() -> None:
    assert Body.model_validate({"nullable": None, "thread_id": None}).nullable is None


def test_unknown_fields_are_ignored() -> None:
    assert Body.model_validate({"nonsense": 1}) == Body()


@pytest.mark.parametrize("kind", ["assistant", "thread", "run", "cron"])
@pytest.mark.parametrize("text", ["", "bad", "0" * 32, "{00000000-0000-0000-0000-000000000000}"])
def test_path_id_that_is_no_uuid(kind: str, text: str) -> None:
    with pytest.raises(errors.Unprocessable, match=f"^Invalid {kind} ID: must be a UUID$"):
        path_uuid(text, kind)

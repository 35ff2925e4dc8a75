"""Ids that clients send, and pydantic's errors in the words of the contract (those of a JSON Schema validator)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from platform_site.core.errors import InvalidJSON, Unprocessable
from platform_site.core.ids import parse_uuid
from platform_site.core.wire import encode

# A wrong value is quoted in the answer, but not at any length.
_LONGEST_QUOTE = 200

# Objects of a body whose fields are named when one of them is wrong.
_NAMED_INSIDE = frozenset({"config", "checkpoint"})

_JSON_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "int_parsing": "integer",
    "int_from_float": "integer",
    "float_type": "number",
    "float_parsing": "number",
    "bool_type": "boolean",
    "bool_parsing": "boolean",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
    "list_type": "array",
    "tuple_type": "array",
    "set_type": "array",
    "none_required": "null",
}


def path_uuid(text: str, kind: str) -> UUID:
    """The id in a path; 422 `Invalid <kind> ID: must be a UUID` when it is none."""
    if (parsed := parse_uuid(text)) is None:
        raise Unprocessable(f"Invalid {kind} ID: must be a UUID")
    return parsed


def _reader(kind: str) -> Callable[[Any], UUID]:
    def read(value: Any) -> UUID:
        if isinstance(value, UUID):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "not a string")
        if (parsed := parse_uuid(value)) is None:
            raise ValueError(f"Invalid {kind} ID: must be a UUID")
        return parsed

    return read


_UUID_SCHEMA = WithJsonSchema({"type": "string", "format": "uuid"})
AssistantId = Annotated[UUID, BeforeValidator(_reader("assistant")), _UUID_SCHEMA]
ThreadId = Annotated[UUID, BeforeValidator(_reader("thread")), _UUID_SCHEMA]
RunId = Annotated[UUID, BeforeValidator(_reader("run")), _UUID_SCHEMA]


def _quoted(value: Any) -> str:
    try:
        text = encode(value).decode()
    except RecursionError:
        # Deeper than any JSON that is written here.
        return "[…]" if isinstance(value, list) else "{…}"
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"


def _choices(expected: str) -> str:
    """Pydantic's `'a', 'b' or 'c'` as the contract lists choices: at most three of them by name."""
    names = [f'"{name}"' for name in re.findall(r"'([^']*)'", expected)]
    if len(names) > 3:
        return f"{names[0]}, {names[1]} or {len(names) - 2} other candidates"
    if len(names) > 1:
        return f"{', '.join(names[:-1])} or {names[-1]}"
    return names[0] if names else expected


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _number(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else f"{limit:g}"


def _alternatives_value(body: Any, location: Sequence[str | int], kind: str) -> tuple[bool, Any]:
    """Whether the error lies inside a choice between types, and if so the value that fits none of them.

    Pydantic puts the name of the tried type into the location of such an error; it names no place in the body.
    """
    value = body
    for position, step in enumerate(location):
        is_key = isinstance(value, Mapping) and step in value
        is_index = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if is_key or is_index:
            value = value[step]
        elif kind == "missing" and isinstance(value, Mapping) and position == len(location) - 1:
            return False, None
        else:
            return True, value
    return False, None


def validation_detail(errors: Sequence[Mapping[str, Any]], body: Any) -> str:
    """The sentence for the first of `errors` (as django-ninja collects them), `body` being the decoded request body.

    Where the wrong value lies in a configuration, a trailer names the field: many of its fields have the same type.
    """
    error = errors[0]
    return _sentence(error, body) + _trailer(error["loc"], error.get("input"))


def _trailer(location: Sequence[str | int], value: Any) -> str:
    if _NAMED_INSIDE.isdisjoint(location[2:-1]):
        return ""
    place = "".join(f'["{step}"]' if isinstance(step, str) else f"[{step}]" for step in location[2:])
    return f"\n\nFailed validating the request\n\nOn instance{place}:\n    {_quoted(value)}"


def _sentence(error: Mapping[str, Any], body: Any) -> str:
    kind, value = error["type"], error.get("input")
    context: Mapping[str, Any] = error.get("ctx") or {}
    location: tuple[str | int, ...] = tuple(error["loc"])
    if location[:1] == ("body",):
        # The second step is the name of the view's argument.
        if kind == "missing" and len(location) == 2:
            return InvalidJSON.default_detail
        is_choice, candidate = _alternatives_value(body, location[2:], kind)
        if is_choice:
            return f"{_quoted(candidate)} is not valid under any of the schemas listed in the 'anyOf' keyword"
    if kind == "missing":
        return f'"{location[-1]}" is a required property'
    if kind in _JSON_TYPES:
        return f'{_quoted(value)} is not of type "{_JSON_TYPES[kind]}"'
    match kind:
        case "value_error" | "assertion_error":
            return str(context["error"])
        case "literal_error" | "enum":
            return f"{_quoted(value)} is not one of {_choices(context['expected'])}"
        case "greater_than_equal":
            return f"{_quoted(value)} is less than the minimum of {_number(context['ge'])}"
        case "greater_than":
            return f"{_quoted(value)} is less than or equal to the minimum of {_number(context['gt'])}"
        case "less_than_equal":
            return f"{_quoted(value)} is greater than the maximum of {_number(context['le'])}"
        case "less_than":
            return f"{_quoted(value)} is greater than or equal to the maximum of {_number(context['lt'])}"
        case "too_short":
            return f"{_quoted(value)} has less than {_plural(context['min_length'], 'item')}"
        case "too_long":
            return f"{_quoted(value)} has more than {_plural(context['max_length'], 'item')}"
        case "string_too_short":
            return f"{_quoted(value)} is shorter than {_plural(context['min_length'], 'character')}"
        case "string_too_long":
            return f"{_quoted(value)} is longer than {_plural(context['max_length'], 'character')}"
        case "string_pattern_mismatch":
            return f'{_quoted(value)} does not match "{context["pattern"]}"'
    return str(error["msg"])

"""Requests of a stranger, made from the OpenAPI document: a victim's ids and reserved names in every field."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from langgraph._internal import _constants

from tests.contract.coverage import Document
from tests.tenants.victim import MARK, Victim

# Keys that LangGraph or the server puts into a run's configuration; no request may.
SERVER_NAMES = (
    "thread_id", "run_id", "graph_id", "assistant_id", "langgraph_auth_user", "langgraph_auth_user_id",
    "langgraph_auth_permissions", "langgraph_request_id",
)  # fmt: skip
# By which a fork is asked for: the field `checkpoint` of a request may, so they are no forgery by themselves.
FORK_NAMES = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
LANGGRAPH_NAMES = tuple(
    sorted({value for value in vars(_constants).values() if isinstance(value, str) and value.startswith("__pregel")})
)
RESERVED_WRITES = tuple(
    sorted({name for name in _constants.RESERVED if name.startswith("__") and name not in LANGGRAPH_NAMES})
)
_UNCHANGED = {"schedule", "graph_id", "webhook", "end_time", "timezone", "role", "on_completion", "on_disconnect"}
_DEEPEST = 6


class Poison(NamedTuple):
    """A value, and where in a body it is put."""

    path: tuple[str | int, ...]
    value: Any


def names(victim: Victim) -> dict[str, Any]:
    """Every reserved name and every name of an id, with what a stranger would like it to be."""
    reserved = dict.fromkeys((*LANGGRAPH_NAMES, *RESERVED_WRITES, "__interrupt__", "checkpoint_ns", "store"), MARK)
    return {**reserved, **{name: victim.ids.get(name, MARK) for name in SERVER_NAMES}, **victim.ids}


def poisons(document: Document, operation: str, victim: Victim, turn: int) -> list[Poison]:
    """What is put into a body: reserved names into every object; ids into every text, others at every `turn`."""
    known = document.operation(operation) or {}
    content = known.get("requestBody", {}).get("content", {})
    schemas = [media["schema"] for media in content.values()]
    return list(_inside(document, schemas[0], (), victim, turn)) if schemas else []


def _inside(
    document: Document, schema: dict[str, Any], path: tuple[str | int, ...], victim: Victim, turn: int
) -> Iterator[Poison]:
    if len(path) > _DEEPEST:
        return
    for choice in document.resolved(schema):
        properties = choice.get("properties", {})
        kind = choice.get("type")
        if "items" in choice and "properties" not in choice:
            yield from _listed(document, choice["items"], path, victim, turn)
        elif kind == "object" or properties or (kind is None and "enum" not in choice and "const" not in choice):
            # Free-form, or with fields of its own: what it does not know is ignored or kept, and must do no harm.
            yield from (Poison((*path, name), value) for name, value in names(victim).items() if name not in properties)
            for name, field in properties.items():
                yield from _inside(document, field, (*path, name), victim, turn)
        elif kind == "string" and not {"enum", "const"} & choice.keys() and path and path[-1] not in _UNCHANGED:
            yield Poison(path, _text(str(path[-1]), victim, turn))


def _listed(
    document: Document, items: dict[str, Any], path: tuple[str | int, ...], victim: Victim, turn: int
) -> Iterator[Poison]:
    if any(choice.get("type") == "string" for choice in document.resolved(items)):
        if not any("enum" in choice for choice in document.resolved(items)):
            value = victim.ids.get(str(path[-1]) if path else "")
            yield Poison(path, value if isinstance(value, list) else victim.texts)
    else:
        yield from _inside(document, items, (*path, 0), victim, turn)


def _text(name: str, victim: Victim, turn: int) -> str:
    own = victim.ids.get(name)
    if turn == 0 and isinstance(own, str):
        return own
    texts = victim.texts
    # Other fields have other ids in the same request.
    return texts[(sum(map(ord, name)) + turn) % len(texts)]


def poisoned(body: Any, wanted: list[Poison]) -> Any:
    """The body with the poison in it."""
    found = copy.deepcopy(body)
    for path, value in wanted:
        found = _put(found, path, value)
    return found


def _put(inside: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        items = inside if isinstance(inside, list) and inside else [{}]
        return [_put(items[0], rest, value), *items[1:]]
    fields = inside if isinstance(inside, dict) else {}
    return {**fields, step: _put(fields.get(step), rest, value)}

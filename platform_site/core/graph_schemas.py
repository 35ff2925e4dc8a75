"""JSON schemas of a graph, as `/assistants/{id}/schemas` and `/subgraphs` show them."""

import dataclasses
import functools
import logging
import operator
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, get_args, get_origin

from langgraph.pregel import Pregel
from pydantic import BaseModel, Field, PydanticUserError, TypeAdapter, create_model
from typing_extensions import ReadOnly, TypedDict, get_type_hints, is_typeddict

logger = logging.getLogger(__name__)

JSONSchema = dict[str, Any]


def graph_schemas(graph: Pregel[Any, Any, Any, Any]) -> dict[str, JSONSchema | None]:
    """The five schemas; one that cannot be expressed in JSON (a state of plain Python classes) is None."""
    builder = getattr(graph, "builder", None)
    input_type = builder.input_schema if builder else graph.InputType
    output_type = builder.output_schema if builder else graph.OutputType
    context = _attempt("context", graph, lambda: _schema(graph.get_context_jsonschema, graph.context_schema))
    return {
        "input_schema": _attempt("input", graph, lambda: _schema(graph.get_input_jsonschema, input_type)),
        "output_schema": _attempt("output", graph, lambda: _schema(graph.get_output_jsonschema, output_type)),
        "state_schema": _attempt("state", graph, lambda: _state_schema(graph)),
        "config_schema": context or {},
        "context_schema": context,
    }


def context_keys(graph: Pregel[Any, Any, Any, Any]) -> set[str] | None:
    """The keys of the graph's context schema, None without one."""
    schema = graph.context_schema
    if schema is None:
        return None
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return set(schema.model_fields)
    if dataclasses.is_dataclass(schema):
        return {item.name for item in dataclasses.fields(schema)}
    if is_typeddict(schema):
        return set(schema.__required_keys__ | schema.__optional_keys__)
    return None


def _attempt(what: str, graph: Pregel[Any, Any, Any, Any], make: Callable[[], JSONSchema | None]) -> JSONSchema | None:
    try:
        return make()
    except Exception:
        logger.debug("the %s schema of graph %s has no JSON form", what, graph.name, exc_info=True)
        return None


def _schema(make: Callable[[], JSONSchema | None], described: Any) -> JSONSchema | None:
    """What LangGraph makes; where Pydantic refuses `typing.TypedDict` (before Python 3.12), the same without it."""
    try:
        return make()
    except PydanticUserError as error:
        if error.code != "typed-dict-version":
            raise
        return TypeAdapter(readable_by_pydantic(described)).json_schema()


def readable_by_pydantic(annotation: Any) -> Any:
    """`annotation` with every `typing.TypedDict` in it replaced by its `typing_extensions` twin."""
    return _readable(annotation, {})


def _readable(annotation: Any, seen: dict[Any, Any]) -> Any:
    if is_typeddict(annotation) and type(annotation).__module__ == "typing":
        if annotation in seen:
            return seen[annotation]
        # A type that mentions itself: the inner mention stays any object.
        seen[annotation] = dict[str, Any]
        fields = {
            name: Required[_readable(hint, seen)]
            if name in annotation.__required_keys__
            else NotRequired[_readable(hint, seen)]
            for name, hint in _fields(annotation).items()
        }
        seen[annotation] = TypedDict(annotation.__name__, fields)  # type: ignore[operator]
        seen[annotation].__doc__ = annotation.__doc__
        return seen[annotation]
    arguments = get_args(annotation)
    if not arguments or get_origin(annotation) is Literal:
        return annotation
    if get_origin(annotation) is Annotated:
        return Annotated[(_readable(arguments[0], seen), *arguments[1:])]
    changed = tuple(_readable(argument, seen) for argument in arguments)
    if changed == arguments:
        return annotation
    if isinstance(annotation, UnionType):
        return functools.reduce(operator.or_, changed)
    return annotation.copy_with(changed) if hasattr(annotation, "copy_with") else get_origin(annotation)[changed]


def _fields(annotation: Any) -> dict[str, Any]:
    hints = get_type_hints(annotation, include_extras=True)
    return {name: _unwrapped(hint) for name, hint in hints.items()}


def _unwrapped(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired, ReadOnly) else hint


def _state_schema(graph: Pregel[Any, Any, Any, Any]) -> JSONSchema:
    channels = {key: getattr(graph.channels[key], "UpdateType", Any) for key in graph.stream_channels_list}
    # Keys become aliases: a state may have keys like `copy` or `_step`, which are no names for fields of a model.
    fields: dict[str, Any] = {
        f"field_{index}": (readable_by_pydantic(value), Field(default=None, alias=key, title=_title(key)))
        for index, (key, value) in enumerate(channels.items())
    }
    return create_model(graph.get_name("State"), **fields).model_json_schema()


def _title(key: str) -> str:
    return key.replace("_", " ").strip().title()

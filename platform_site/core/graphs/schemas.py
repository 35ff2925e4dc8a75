"""JSON schemas of a graph, as `/assistants/{id}/schemas` and `/subgraphs` show them."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from langgraph.pregel import Pregel
from pydantic import BaseModel, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticForbiddenQualifier
from typing_extensions import get_type_hints

from platform_site.core.graphs.typed_dicts import readable_by_pydantic

logger = logging.getLogger(__name__)

JSONSchema = dict[str, Any]


# (graph, sentence) of the warnings that the log has. Factories are described again and again.
_warned: set[tuple[str, str]] = set()


def graph_schemas(graph: Pregel[Any, Any, Any, Any]) -> dict[str, JSONSchema | None]:
    """Return the five schemas. One that JSON cannot express (an input of plain Python classes) is None.

    The state's schema is never None: a key that JSON cannot express has a title and no type.
    """
    builder = getattr(graph, "builder", None)
    input_type = builder.input_schema if builder else graph.InputType
    output_type = builder.output_schema if builder else graph.OutputType
    in_name, out_name = graph.get_name("Input"), graph.get_name("Output")
    context = _attempt("context", graph, lambda: _schema(graph.get_context_jsonschema, graph.context_schema))
    return {
        "input_schema": _attempt("input", graph, lambda: _schema(graph.get_input_jsonschema, input_type, in_name)),
        "output_schema": _attempt("output", graph, lambda: _schema(graph.get_output_jsonschema, output_type, out_name)),
        "state_schema": _state_schema(graph),
        "config_schema": context or {},
        "context_schema": context,
    }


def _attempt(what: str, graph: Pregel[Any, Any, Any, Any], make: Callable[[], JSONSchema | None]) -> JSONSchema | None:
    try:
        return make()
    except Exception as error:
        _warn(graph, f"there is no {what} schema", error)
        return None


def _warn(graph: Pregel[Any, Any, Any, Any], what: str, error: Exception) -> None:
    if (graph.name, what) not in _warned:
        _warned.add((graph.name, what))
        logger.warning("graph %s: %s: %s: %s", graph.name, what, type(error).__name__, " ".join(str(error).split()))


def _schema(make: Callable[[], JSONSchema | None], described: Any, name: str = "") -> JSONSchema | None:
    """Return what LangGraph makes. Where Pydantic refuses `typing.TypedDict`, return the same without it."""
    try:
        return make()
    except PydanticUserError as error:
        if error.code != "typed-dict-version":
            raise
        if name and dataclasses.is_dataclass(described):
            return _dataclass_schema(described, name)
        return TypeAdapter(readable_by_pydantic(described)).json_schema()


def _dataclass_schema(described: Any, name: str) -> JSONSchema:
    """Return the schema of a state that is a dataclass as LangGraph makes it: of a model with the same defaults."""
    hints = get_type_hints(described, include_extras=True)
    fields: dict[str, Any] = {}
    seen: dict[Any, Any] = {}
    for item in dataclasses.fields(described):
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        fields[item.name] = (
            readable_by_pydantic(hints[item.name], seen),
            ... if default is dataclasses.MISSING else default,
        )
    return create_model(name, **fields).model_json_schema()


def _state_schema(graph: Pregel[Any, Any, Any, Any]) -> JSONSchema:
    types = {key: getattr(graph.channels[key], "UpdateType", Any) for key in graph.stream_channels_list}
    name = graph.get_name("State")
    try:
        return _schema_of_keys(name, types)
    except Exception:
        return _schema_of_keys(name, {key: _expressible(graph, key, value) for key, value in types.items()})


def _schema_of_keys(name: str, types: dict[str, Any]) -> JSONSchema:
    # Keys become aliases: a state may have keys like `copy` or `_step`, which are no names for fields of a model.
    seen: dict[Any, Any] = {}
    fields: dict[str, Any] = {
        f"field_{index}": (readable_by_pydantic(value, seen), Field(default=None, alias=key))
        for index, (key, value) in enumerate(types.items())
    }
    model: type[BaseModel] = create_model(name, **fields)
    schema = model.model_json_schema()
    for key, described in schema.get("properties", {}).items():
        # Pydantic gives a title where the type has none of its own.
        if "title" in described:
            described["title"] = _title(key)
    return schema


def _expressible(graph: Pregel[Any, Any, Any, Any], key: str, value: Any) -> Any:
    """Return the type of a key, or Any with a warning where JSON cannot express it."""
    try:
        _schema_of_keys("State", {key: value})
    except PydanticForbiddenQualifier:
        # `Annotated[NotRequired[T], reducer]`, as langchain's own middleware writes it: nothing to be mended.
        return Any
    except Exception as error:
        _warn(graph, f"the key {key!r} of the state schema has no type", error)
        return Any
    return value


def _title(key: str) -> str:
    return key.lstrip("_").replace("_", " ").title()

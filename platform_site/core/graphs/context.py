"""The context of a run: what nodes read as `runtime.context`, and a factory as `execution_runtime.context`."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict


def node_context(schema: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mapping from which LangGraph builds `runtime.context`.

    A model, a dataclass or a typed dictionary gets the keys that it has, and the first two use their defaults for the
    others. Any other schema, and a graph without one, gets the mapping as it was given: None without a schema if
    nothing was given.
    """
    # LangGraph raises a `TypeError` for a mapping and a schema like `dict[str, Any]`, which is no class.
    if not isinstance(schema, type):
        return dict(given) or None
    taken = context_keys(schema)
    return {key: value for key, value in given.items() if taken is None or key in taken}


def factory_context(schema: Any, given: Mapping[str, Any]) -> Any:
    """Return the context as a factory that names `ServerRuntime[schema]` sees it: the object that nodes see.

    Raises what the schema raises for a missing or a wrong value.
    """
    if isinstance(schema, type) and (issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema)):
        return schema(**(node_context(schema, given) or {}))
    return node_context(schema, given) or {}


def context_keys(schema: Any) -> set[str] | None:
    """Return the keys that a context schema takes. None if it takes every key, or if there is no schema."""
    if is_typeddict(schema):
        return set(schema.__required_keys__ | schema.__optional_keys__)
    if not isinstance(schema, type):
        return None
    if issubclass(schema, BaseModel):
        by_name = schema.model_config.get("populate_by_name") or schema.model_config.get("validate_by_name")
        return {key for name, field in schema.model_fields.items() for key in _names(name, field, bool(by_name))}
    if dataclasses.is_dataclass(schema):
        # Unlike `dataclasses.fields`, the signature knows `InitVar` and leaves out fields with `init=False`.
        return set(inspect.signature(schema).parameters)
    return None


def _names(name: str, field: FieldInfo, by_name: bool) -> set[str]:
    alias = field.validation_alias
    if alias is None:
        return {name}
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    found = {str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices}
    return found | {name} if by_name else found

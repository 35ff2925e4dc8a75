"""Types that Pydantic reads on every version of Python.

Before Python 3.12 Pydantic refuses `typing.TypedDict` wherever it stands in a type. A `typing_extensions.TypedDict`
with the same fields takes its place, also inside other typed dicts and dataclasses.
"""

import dataclasses
import functools
import operator
import sys
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, get_args, get_origin

from typing_extensions import ReadOnly, TypedDict, get_type_hints, is_typeddict

_QUALIFIERS = (Required, NotRequired, ReadOnly)
# What Pydantic looks for on a typed dict beside its fields.
_KEPT = ("__doc__", "__module__", "__qualname__", "__pydantic_config__", "__closed__", "__extra_items__")
_IS_NEEDED = sys.version_info < (3, 12)


def readable_by_pydantic(annotation: Any, seen: dict[Any, Any] | None = None) -> Any:
    """Return `annotation` with every `typing.TypedDict` in it replaced by its `typing_extensions` twin.

    Calls with the same `seen` replace a type by the same twin; a schema would name two twins apart.
    """
    return _readable(annotation, {} if seen is None else seen) if _IS_NEEDED else annotation


def _readable(annotation: Any, seen: dict[Any, Any]) -> Any:
    if is_typeddict(annotation):
        return seen[annotation] if annotation in seen else _typed_dict(annotation, seen)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return seen[annotation] if annotation in seen else _dataclass(annotation, seen)
    arguments = get_args(annotation)
    if not arguments or get_origin(annotation) is Literal:
        return annotation
    if get_origin(annotation) is Annotated:
        return Annotated[(_readable(arguments[0], seen), *arguments[1:])]
    changed = tuple(_readable_argument(argument, seen) for argument in arguments)
    if changed == arguments:
        return annotation
    if isinstance(annotation, UnionType):
        return functools.reduce(operator.or_, changed)
    return annotation.copy_with(changed) if hasattr(annotation, "copy_with") else get_origin(annotation)[changed]


def _readable_argument(argument: Any, seen: dict[Any, Any]) -> Any:
    # The parameters of a `Callable` are a list.
    return [_readable(item, seen) for item in argument] if isinstance(argument, list) else _readable(argument, seen)


def _typed_dict(annotation: Any, seen: dict[Any, Any]) -> Any:
    # Known before its fields are read, because a type may mention itself.
    seen[annotation] = twin = TypedDict(annotation.__name__, {})  # type: ignore[operator]
    hints = get_type_hints(annotation, include_extras=True)
    required = {name for name, hint in hints.items() if _is_required(hint, name in annotation.__required_keys__)}
    twin.__annotations__ = {
        name: (Required if name in required else NotRequired)[_readable(_unwrapped(hint), seen)]
        for name, hint in hints.items()
    }
    twin.__required_keys__, twin.__optional_keys__ = frozenset(required), frozenset(set(hints) - required)
    for name in _KEPT:
        if hasattr(annotation, name):
            setattr(twin, name, getattr(annotation, name))
    return twin


def _is_required(hint: Any, otherwise: bool) -> bool:
    """Return what the qualifiers say: under `from __future__ import annotations` Python itself does not see them."""
    while get_origin(hint) in (*_QUALIFIERS, Annotated):
        if get_origin(hint) in (Required, NotRequired):
            return get_origin(hint) is Required
        hint = get_args(hint)[0]
    return otherwise


def _unwrapped(hint: Any) -> Any:
    """Return the type without the qualifiers around it and directly inside its `Annotated`."""
    while get_origin(hint) in _QUALIFIERS:
        hint = get_args(hint)[0]
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return Annotated[(_unwrapped(inner), *notes)]
    return hint


def _dataclass(annotation: Any, seen: dict[Any, Any]) -> Any:
    """Return a dataclass with the same fields and defaults, or `annotation` itself if nothing in it is replaced."""
    seen[annotation] = annotation
    hints = get_type_hints(annotation, include_extras=True)
    fields = [(field, _readable(hints[field.name], seen)) for field in dataclasses.fields(annotation)]
    if all(readable == hints[field.name] for field, readable in fields):
        return annotation
    twin = dataclasses.make_dataclass(
        annotation.__name__,
        [(field.name, readable, _same_default(field)) for field, readable in fields],
        kw_only=True,
    )
    twin.__doc__, twin.__module__, twin.__qualname__ = (
        annotation.__doc__,
        annotation.__module__,
        annotation.__qualname__,
    )
    seen[annotation] = twin
    return twin


def _same_default(field: "dataclasses.Field[Any]") -> Any:
    given: dict[str, Any] = {"default": field.default, "default_factory": field.default_factory, "init": field.init}
    options = {name: value for name, value in given.items() if value is not dataclasses.MISSING}
    return dataclasses.field(metadata=field.metadata, **options)

"""The form of each type in a checkpoint: LangGraph's where it has one, else one of ours.

An object becomes a msgpack extension with one of LangGraph's codes, whose content begins as LangGraph's own does:
module, name, value. So LangGraph's serializer reads it, too: as LangGraph does, or as the plain value in it. What
follows (`facts`) is read by `unpacking.py` only.
"""

import dataclasses
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import re
import types
import zoneinfo
from array import array
from collections import Counter, OrderedDict, UserString, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import ormsgpack
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import BaseModel

from platform_site.core.error_texts import repr_of
from platform_site.core.serialization.tables import table_form
from platform_site.core.serialization.types import kind_of

if TYPE_CHECKING:
    from platform_site.core.serialization.packing import Packer

# LangGraph's codes (`langgraph.checkpoint.serde.jsonplus`), and one of ours.
SINGLE_ARGUMENT, ARGUMENTS, KEYWORDS, METHOD, MODEL_1, MODEL, ARRAY, DELTA = range(8)
PICKLE = 64

_IP_TYPES = (
    ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network,
    ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network,
)  # fmt: skip
URL_MODULES = ("pydantic.networks", "pydantic_core._pydantic_core")
_DICT_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))

Form = Callable[["Packer", Any], Any]


class NoForm(TypeError):
    """A value has no form in a checkpoint."""


@lru_cache(maxsize=4096)
def form_of(cls: Any) -> Form:
    """Return the function that makes the form of instances of this class."""
    for base, form in _FORMS_OF_LANGGRAPH:
        if issubclass(cls, base):
            return form
    if issubclass(cls, type):
        return _refused
    if (kind := kind_of(cls)) is not None:
        return _FORMS_OF_KINDS[kind]
    if _has_method(cls, "model_dump"):
        return _dumped
    if _has_method(cls, "get_secret_value"):
        return _secret
    if _has_method(cls, "dict"):
        return _dumped_1
    if cls.__module__ in URL_MODULES and cls.__name__.endswith(("Url", "Dsn")):
        return _single(cls.__module__, cls.__name__, str)
    if _has_method(cls, "_asdict"):
        return lambda packer, value: dict(value._asdict())
    if (table := table_form(cls)) is not None:
        return table
    return next((form for bases, form in _FORMS if issubclass(cls, bases)), _refused)


def _has_method(cls: type, name: str) -> bool:
    return callable(getattr(cls, name, None))


def _refused(packer: "Packer", value: Any) -> Any:
    raise NoForm(f"Object of type {type(value).__name__} is not serializable")


# --- Data classes --------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def field_names(cls: Any) -> tuple[str, ...]:
    """Return the fields of a dataclass, an attrs class or a msgspec struct."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if hasattr(cls, "__attrs_attrs__"):
        return tuple(field.name for field in cls.__attrs_attrs__)
    return tuple(getattr(cls, "__struct_fields__", ()))


def _fields(packer: "Packer", value: Any) -> Any:
    cls: Any = type(value)
    values = {name: getattr(value, name) for name in field_names(cls) if hasattr(value, name)}
    return packer.ext(KEYWORDS, cls.__module__, cls.__qualname__, values, {})


def _named_tuple(packer: "Packer", value: Any) -> Any:
    cls: Any = type(value)
    return packer.ext(KEYWORDS, cls.__module__, cls.__qualname__, dict(zip(cls._fields, value, strict=False)), {})


def _enum(packer: "Packer", value: Enum) -> Any:
    cls = type(value)
    return packer.ext(SINGLE_ARGUMENT, cls.__module__, cls.__qualname__, value.value, {"name": value.name})


@lru_cache(maxsize=4096)
def _left_out(cls: type[BaseModel]) -> frozenset[str]:
    """Return the fields that the class itself leaves out of every dump."""
    return frozenset(name for name, field in cls.__pydantic_fields__.items() if field.exclude)


@lru_cache(maxsize=4096)
def _generic(cls: type[BaseModel]) -> tuple[Any, ...] | None:
    """Return the reference of a parametrized model: module, name, arguments. None for any other class."""
    made_of = cls.__pydantic_generic_metadata__
    origin, arguments = made_of["origin"], made_of["args"]
    if origin is None:
        return None
    references = [_reference(argument) for argument in arguments]
    known = references if all(reference is not None for reference in references) else []
    return origin.__module__, origin.__qualname__, known


def _reference(argument: Any) -> Any:
    if not isinstance(argument, type) or isinstance(argument, types.GenericAlias):
        return None
    if issubclass(argument, BaseModel) and (generic := _generic(argument)) is not None:
        return list(generic)
    return [argument.__module__, argument.__qualname__]


def _model(packer: "Packer", model: BaseModel) -> Any:
    cls: Any = type(model)
    # The fields as they are, not `model_dump`: that has no types of values, and of subclasses only the base's fields.
    values, fields, left_out = model.__dict__, cls.__pydantic_fields__, _left_out(cls)
    if left_out or len(values) != len(fields):
        values = {name: values[name] for name in fields if name in values and name not in left_out}
    if model.__pydantic_extra__:
        values = {**model.__pydantic_extra__, **values}
    facts: dict[str, Any] = {}
    if len(model.__pydantic_fields_set__) != len(fields) and not cls.__module__.startswith("langchain_core."):
        facts["set"] = sorted(model.__pydantic_fields_set__)
    if model.__pydantic_private__:
        facts["private"] = packer.storable(model.__pydantic_private__)
    if (generic := _generic(cls)) is not None:
        facts["generic"] = list(generic)
    try:
        return packer.ext(MODEL, cls.__module__, cls.__qualname__, values, "model_validate_json", facts)
    except NoForm as error:
        # A serializer of the class may know a form of what has none here.
        if (dumped := _attempted(partial(model.model_dump, warnings=False))) is None:
            raise
        try:
            return packer.ext(MODEL, cls.__module__, cls.__qualname__, dumped, "model_validate_json")
        except NoForm:
            raise error from None


def _attempted(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        return None


def _dumped(packer: "Packer", value: Any) -> Any:
    return packer.ext(
        MODEL, type(value).__module__, type(value).__qualname__, value.model_dump(), "model_validate_json"
    )


def _model_1(packer: "Packer", model: Any) -> Any:
    cls = type(model)
    return packer.ext(MODEL_1, cls.__module__, cls.__qualname__, dict(model.__dict__), {})


def _dumped_1(packer: "Packer", value: Any) -> Any:
    return packer.ext(MODEL_1, type(value).__module__, type(value).__qualname__, value.dict())


def _secret(packer: "Packer", value: Any) -> Any:
    return packer.ext(SINGLE_ARGUMENT, type(value).__module__, type(value).__name__, value.get_secret_value())


_FORMS_OF_KINDS: dict[str, Form] = {
    "attrs": _fields,
    "dataclass": _fields,
    "enum": _enum,
    "model": _model,
    "model1": _model_1,
    "named tuple": _named_tuple,
    "struct": _fields,
}


# --- LangGraph's own -----------------------------------------------------------------------------


def _send(packer: "Packer", value: Send) -> Any:
    arguments = [value.node, value.arg]
    if (timeout := getattr(value, "timeout", None)) is not None:
        arguments.append(timeout)
    return packer.ext(ARGUMENTS, "langgraph.types", "Send", arguments)


def _item(packer: "Packer", value: Item) -> Any:
    slots = {name: getattr(value, name) for name in Item.__slots__}
    return packer.ext(KEYWORDS, Item.__module__, Item.__name__, slots)


def _delta(packer: "Packer", value: _DeltaSnapshot) -> Any:
    return ormsgpack.Ext(DELTA, packer.pack(value.value))


# Before anything else is asked of a class: a `_DeltaSnapshot` is a named tuple, too.
_FORMS_OF_LANGGRAPH: list[tuple[type, Form]] = [(_DeltaSnapshot, _delta), (Send, _send), (Item, _item)]


# --- The standard library ------------------------------------------------------------------------


def _datetime(packer: "Packer", value: datetime.datetime) -> Any:
    facts: dict[str, Any] = {}
    if isinstance(value.tzinfo, zoneinfo.ZoneInfo) and value.tzinfo.key:
        facts["zone"] = value.tzinfo.key
    if value.fold:
        facts["fold"] = value.fold
    parts = ["datetime", "datetime", datetime.datetime.isoformat(value), "fromisoformat"]
    return ormsgpack.Ext(METHOD, packer.parts([*parts, facts] if facts else parts))


def _time(packer: "Packer", value: datetime.time) -> Any:
    names = ("hour", "minute", "second", "microsecond", "tzinfo", "fold")
    return packer.ext(KEYWORDS, "datetime", "time", {name: getattr(value, name) for name in names})


def _zone(packer: "Packer", value: zoneinfo.ZoneInfo) -> Any:
    if value.key is None:
        raise NoForm("a ZoneInfo without a key is not serializable")
    return packer.ext(SINGLE_ARGUMENT, "zoneinfo", "ZoneInfo", value.key)


def _path(packer: "Packer", value: pathlib.PurePath) -> Any:
    known = next(base for base in type(value).__mro__ if base.__module__.partition(".")[0] == "pathlib")
    return packer.ext(ARGUMENTS, "pathlib", known.__name__, list(value.parts))


def _deque(packer: "Packer", value: deque[Any]) -> Any:
    facts = [] if value.maxlen is None else [{"maxlen": value.maxlen}]
    return packer.ext(SINGLE_ARGUMENT, "collections", "deque", list(value), *facts)


def _default_dict(packer: "Packer", value: defaultdict[Any, Any]) -> Any:
    factory = value.default_factory
    facts = {"factory": factory.__name__} if isinstance(factory, type) and factory.__module__ == "builtins" else {}
    return packer.ext(SINGLE_ARGUMENT, "collections", "defaultdict", dict(value), facts)


def _single(module: str, name: str, of: Callable[[Any], Any]) -> Form:
    return lambda packer, value: packer.ext(SINGLE_ARGUMENT, module, name, of(value))


def _several(module: str, name: str, of: Callable[[Any], list[Any]]) -> Form:
    return lambda packer, value: packer.ext(ARGUMENTS, module, name, of(value))


def _integer(packer: "Packer", value: int) -> Any:
    if -(2**63) <= value < 2**64:
        return int(value)
    return packer.ext(SINGLE_ARGUMENT, "builtins", "int", hex(value))


def _named(module: str, name: str) -> Form:
    return lambda packer, value: packer.ext(KEYWORDS, module, name, dict(vars(value)))


# In the order in which they are asked: subclasses first.
_FORMS: list[tuple[type | tuple[type, ...], Form]] = [
    (tuple, _single("builtins", "tuple", list)),
    (set, _single("builtins", "set", list)),
    (frozenset, _single("builtins", "frozenset", list)),
    (datetime.datetime, _datetime),
    (datetime.date, _several("datetime", "date", lambda value: [value.year, value.month, value.day])),
    (datetime.time, _time),
    (datetime.timedelta, _several("datetime", "timedelta", lambda v: [v.days, v.seconds, v.microseconds])),
    (datetime.timezone, _several("datetime", "timezone", lambda value: list(value.__getinitargs__()))),
    (zoneinfo.ZoneInfo, _zone),
    (UUID, _single("uuid", "UUID", lambda value: value.hex)),
    (decimal.Decimal, _single("decimal", "Decimal", lambda value: str(value))),
    (fractions.Fraction, _several("fractions", "Fraction", lambda value: [value.numerator, value.denominator])),
    (complex, _several("builtins", "complex", lambda value: [value.real, value.imag])),
    (range, _several("builtins", "range", lambda value: [value.start, value.stop, value.step])),
    (slice, _several("builtins", "slice", lambda value: [value.start, value.stop, value.step])),
    (pathlib.PurePath, _path),
    (re.Pattern, _several("re", "compile", lambda value: [value.pattern, value.flags])),
    (_IP_TYPES, lambda packer, value: _single("ipaddress", type(value).__name__, str)(packer, value)),
    (deque, _deque),
    (defaultdict, _default_dict),
    (OrderedDict, _single("collections", "OrderedDict", lambda value: dict(value.items()))),
    (Counter, _single("collections", "Counter", lambda value: dict(value.items()))),
    (types.MappingProxyType, _single("types", "MappingProxyType", dict)),
    (types.SimpleNamespace, _named("types", "SimpleNamespace")),
    (array, _several("array", "array", lambda value: [value.typecode, value.tolist()])),
    (memoryview, lambda packer, value: value.tobytes()),
    (type(...), lambda packer, value: packer.ext(SINGLE_ARGUMENT, "builtins", "Ellipsis", None)),
    (BaseException, lambda packer, value: repr_of(value)),
    (int, _integer),
    # Not `str(value)`, which may call what the subclass overrides.
    (str, lambda packer, value: str.__str__(value)),
    (float, lambda packer, value: float.__float__(value)),
    (bytes, lambda packer, value: bytes.__add__(value, b"")),
    (dict, lambda packer, value: dict(value.items())),
    (list, lambda packer, value: list(value)),
    (UserString, lambda packer, value: str(value)),
    (Mapping, lambda packer, value: dict(value.items())),
    ((*_DICT_VIEWS, Sequence, Set), lambda packer, value: list(value)),
]

"""The JSON form of every kind of object that graphs hold and that JSON itself does not know.

A form is shallow: what it returns may hold objects that need a form of their own. `core.wire` applies forms until only
JSON is left. A kind without a form is shown as null, as the reference server shows it: never as Python's `repr`, which
holds addresses and may hold secrets.
"""

import base64
import dataclasses
import logging
import re
import sys
from collections import UserString
from collections.abc import Callable, Mapping, MappingView, Sequence, Set
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from ipaddress import _BaseNetwork, _IPAddressBase
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

logger = logging.getLogger("switchyard.wire")

Form = Callable[[Any], Any]

# Longer ranges are shown as text: a list of their numbers might fill the memory.
_LONGEST_RANGE = 1_000_000
_KINDS_REMEMBERED = 1024


def plain(value: Any) -> Any:
    """Return the JSON form of an object, or None where it has none.

    An object whose own method fails is named in the log: it must not make a thread unreadable. A Pydantic model whose
    `model_dump` fails is shown field by field, another object as null. Only `RecursionError` and `MemoryError` are
    passed on.
    """
    kind = type(value)
    try:
        return _form_of(kind)(value)  # type: ignore[arg-type]
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        _tell_once(kind, error)
        return _by_fields(value) if issubclass(kind, BaseModel) else None


def _by_fields(value: BaseModel) -> dict[str, Any] | None:
    """Return the fields one by one: in the form that the class gives them, and bare where that form fails.

    Null where the class gives the model as a whole a form: it may be there to hide a field.
    """
    kind = type(value)
    if kind.__pydantic_decorators__.model_serializers:
        return None
    shown = dict(value.__pydantic_extra__ or {})
    for name, field in kind.model_fields.items():
        if field.exclude or name not in value.__dict__:
            continue
        try:
            shown |= value.model_dump(include={name}, exclude=set(shown) - {name})
        except (RecursionError, MemoryError):
            raise
        except Exception:
            shown[name] = value.__dict__[name]
    return shown


_told: set[type] = set()


def _tell_once(kind: type, error: Exception) -> None:
    if kind in _told or len(_told) >= _KINDS_REMEMBERED:
        return
    _told.add(kind)
    name = f"{kind.__module__}.{kind.__qualname__}"
    logger.warning("values of %s may not be shown as they should be: %s: %s", name, type(error).__name__, error)


@lru_cache(maxsize=_KINDS_REMEMBERED)
def _form_of(kind: type) -> Form:
    # What a class says of itself is asked of the class: objects like mocks answer to every name.
    if callable(getattr(kind, "model_dump", None)):
        return lambda value: value.model_dump()
    if issubclass(kind, tuple) and hasattr(kind, "_asdict"):
        return lambda value: value._asdict()
    if (form := _form_of_library(kind)) is not None:
        return form
    for kinds, form in _FORMS:
        if issubclass(kind, kinds):
            return form
    if dataclasses.is_dataclass(kind):
        return _dataclass
    if hasattr(kind, "__attrs_attrs__"):
        return _attrs
    for method, form in _BY_METHOD:
        if callable(getattr(kind, method, None)):
            return form
    return _nothing


def _nothing(value: Any) -> None:
    return None


# --- numbers and text -------------------------------------------------------------------------------------------------


def _integer(value: int) -> float | None:
    # Beyond 64 bits: orjson has no such integer, and JavaScript would round it anyway.
    try:
        return float(value)
    except OverflowError:
        return None


def _decimal(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    number, exponent = float(value), value.as_tuple().exponent
    is_whole = isinstance(exponent, int) and exponent >= 0
    return int(value) if is_whole and -(2**63) <= number < 2**63 else number


def _complex(value: complex) -> str:
    return str(value).strip("()")


def _text(value: str) -> str:
    # As LangGraph stores it: a surrogate has no UTF-8.
    return value.encode("utf-8", "replace").decode()


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(bytes(value)).decode()


def _pattern(value: re.Pattern[Any]) -> str | bytes:
    return value.pattern


def _moment(value: date | time) -> str | None:
    # pandas' NaT is a datetime that is not equal to itself.
    return value.isoformat() if value == value else None


# --- containers -------------------------------------------------------------------------------------------------------


def _range(value: range) -> list[int] | str:
    return list(value) if len(value) <= _LONGEST_RANGE else str(value)


class Unordered(list[Any]):
    """Members of a set that cannot be compared: who encodes them puts their texts in order."""


def _set(value: set[Any] | frozenset[Any]) -> list[Any]:
    """Return the members in an order that every process finds: Python's own differs between processes."""
    kinds = {type(member) for member in value}
    if kinds <= {int, float} or kinds == {str}:
        return sorted(value)
    return Unordered(value)


def _dataclass(value: Any) -> dict[str, Any]:
    # As orjson does it: without names that begin with an underscore, with what was added to the instance.
    if hasattr(value, "__dict__") and not hasattr(type(value), "__slots__"):
        found = vars(value)
    else:
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _public(found)


def _attrs(value: Any) -> dict[str, Any]:
    return _public({field.name: getattr(value, field.name) for field in value.__attrs_attrs__})


def _public(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in members.items() if not name.startswith("_")}


def _send(value: Any) -> dict[str, Any]:
    return {"node": value.node, "args": value.arg}


# --- arrays and tables ------------------------------------------------------------------------------------------------


def _form_of_library(kind: type) -> Form | None:
    """Return the form of a kind of LangGraph's, numpy's or pandas'. Who has such a value has imported the library."""
    if (langgraph := sys.modules.get("langgraph.types")) is not None and issubclass(kind, langgraph.Send):
        return _send
    if (np := sys.modules.get("numpy")) is not None:
        if issubclass(kind, np.ndarray):
            return _array
        if issubclass(kind, np.generic) and not issubclass(kind, (float, str, bytes, complex)):
            return _form_of_scalar(np, kind)
    if (pd := sys.modules.get("pandas")) is not None:
        if issubclass(kind, pd.DataFrame):
            return lambda value: value.to_dict("records")
        if issubclass(kind, pd.RangeIndex):
            return lambda value: range(value.start, value.stop, value.step)
        if issubclass(kind, (pd.Interval, pd.Period)):
            return str
    return None


def _array(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()
    if value.ndim == 0:
        return value[()]
    if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        # What orjson takes: rows one after the other, bytes in this machine's order.
        return _fragment(np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C"))
    # Rows or scalars, which have forms of their own.
    return list(value)


def _fragment(value: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


def _form_of_scalar(np: Any, kind: type) -> Form:
    if issubclass(kind, np.datetime64):
        return lambda value: value.astype("datetime64[us]").item()
    if issubclass(kind, np.timedelta64):
        return lambda value: value.astype("timedelta64[us]").item()
    if issubclass(kind, (np.float16, np.float32)):
        # A number of 32 bits has fewer digits than the double that it becomes.
        return _fragment
    if issubclass(kind, np.floating):
        return float
    if issubclass(kind, np.void):
        return _record
    return lambda value: value.item()


def _record(value: Any) -> Any:
    names = value.dtype.names
    return {name: value[name] for name in names} if names else value.item()


# The first that fits counts: bytes before sequences, moments before dates.
_FORMS: tuple[tuple[Any, Form], ...] = (
    (Enum, lambda value: value.value),
    (int, _integer),
    (float, float.__float__),
    (str, _text),
    (Decimal, _decimal),
    (Fraction, float),
    (complex, _complex),
    ((bytes, bytearray, memoryview), _base64),
    ((date, time), _moment),
    (timedelta, lambda value: value.total_seconds()),
    ((UUID, PurePath, _IPAddressBase, _BaseNetwork, UserString, tzinfo), str),
    (re.Pattern, _pattern),
    (range, _range),
    ((set, frozenset), _set),
    (Mapping, dict),
    ((Sequence, Set, MappingView), list),
    (SimpleNamespace, vars),
)

# What classes of libraries call it. A secret's text is its mask.
_BY_METHOD: tuple[tuple[str, Form], ...] = (
    ("get_secret_value", str),
    ("to_dicts", lambda value: value.to_dicts()),
    ("to_pylist", lambda value: value.to_pylist()),
    ("dict", lambda value: value.dict()),
    ("tolist", lambda value: value.tolist()),
)

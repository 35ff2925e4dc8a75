"""Values from msgpack: what `packing.py` and LangGraph's serializer have packed.

A data class is rebuilt as it was: fields are set, not validated again, where its fields are still those that were
stored. What may not be rebuilt, or cannot be, comes back as the plain data in it, and is told of as a `Degraded`.
"""

import dataclasses
import datetime
import importlib
import pickle
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send
from pydantic import BaseModel

from platform_site.core.serialization.forms import (
    ARRAY,
    DELTA,
    KEYWORDS,
    MODEL,
    MODEL_1,
    PICKLE,
    SINGLE_ARGUMENT,
    URL_MODULES,
    field_names,
)
from platform_site.core.serialization.packing import TUPLE
from platform_site.core.serialization.types import AllowedTypes, TypeRefused, kind_of

_set = object.__setattr__
_BUILTIN_FACTORIES = {cls.__name__: cls for cls in (bool, bytes, dict, float, int, list, set, str, tuple)}


class Degraded(NamedTuple):
    """A type of which values came back as plain data, and why."""

    module: str
    name: str
    reason: str


class Unpacker:
    """Unpacks one value. `degraded` is what came back as plain data."""

    __slots__ = ("degraded", "types")

    def __init__(self, types: AllowedTypes) -> None:
        self.types = types
        self.degraded: list[Degraded] = []

    def unpack(self, data: bytes) -> Any:
        return ormsgpack.unpackb(data, ext_hook=self._extension, option=ormsgpack.OPT_NON_STR_KEYS)

    def _extension(self, code: int, data: bytes) -> Any:
        if code == SINGLE_ARGUMENT and data.startswith(TUPLE):
            return tuple(self.unpack(data[len(TUPLE) :]))
        if code == DELTA:
            return _DeltaSnapshot(self.unpack(data))
        if code == ARRAY:
            return self._array(data)
        if code == PICKLE:
            return self._pickled(data)
        if code > MODEL:
            return None
        before = len(self.degraded)
        generation = self.types.generation
        parts = self.unpack(data)
        if not isinstance(parts, list) or len(parts) < 3:
            return parts
        module, name, value = parts[:3]
        if not isinstance(module, str) or not isinstance(name, str):
            # Not of a serializer's making.
            return parts
        plain = _PLAIN.get((module, name))
        if plain is None and module in URL_MODULES and name.endswith(("Url", "Dsn")):
            plain = _safe(module, name)
        if plain is not None:
            return self._plain(plain, parts)
        facts = _facts(code, parts)
        try:
            cls = self._class(module, name, facts)
            if self.types.generation != generation and len(self.degraded) > before:
                # The fields of the class name what was refused a moment ago.
                del self.degraded[before:]
                value = self.unpack(data)[2]
            return _rebuilt(cls, code, value, facts, is_whole=len(self.degraded) == before)
        except TypeRefused as refusal:
            reason = str(refusal)
        except Exception as error:
            reason = f"it could not be rebuilt ({type(error).__name__}: {error})"
        self.degraded.append(Degraded(module, name, reason))
        return value

    def _class(self, module: str, name: str, facts: dict[str, Any] | None) -> type:
        if facts is None or "generic" not in facts:
            return self.types.find(module, name)
        return self._parametrized(facts["generic"])

    def _parametrized(self, reference: list[Any]) -> type:
        """Return the generic model with its arguments, or without them if one of them is not allowed."""
        module, name, arguments = reference
        origin: Any = self.types.find(module, name)
        try:
            found = [
                _BUILTIN_FACTORIES[argument[1]]
                if argument[0] == "builtins"
                else (self._parametrized(argument) if len(argument) == 3 else self.types.find(*argument))
                for argument in arguments
            ]
            return origin[tuple(found)] if found else origin
        except (LookupError, TypeError, TypeRefused):
            return origin

    def _plain(self, rebuild: Callable[[Any, Any], Any], parts: list[Any]) -> Any:
        module, name, value, *more = parts
        facts = next((item for item in more if isinstance(item, dict)), {})
        try:
            return rebuild(value, facts)
        except Exception as error:
            self.degraded.append(Degraded(module, name, f"it could not be rebuilt ({type(error).__name__}: {error})"))
            return value

    def _array(self, data: bytes) -> Any:
        from platform_site.core.serialization.tables import array_from

        dtype, shape, order, buffer = self.unpack(data)
        try:
            return array_from(buffer, dtype, shape, order)
        except Exception as error:
            self.degraded.append(Degraded("numpy", "ndarray", f"it could not be rebuilt ({error})"))
            return buffer

    def _pickled(self, data: bytes) -> Any:
        if not self.types.rules.pickles:
            self.degraded.append(Degraded("pickle", "object", "pickles are not read"))
            return None
        try:
            return pickle.loads(data)
        except Exception as error:
            # Its class may be gone since: that must not make the thread unreadable.
            reason = f"it could not be rebuilt ({type(error).__name__}: {error})"
            self.degraded.append(Degraded("pickle", "object", reason))
            return None


def _facts(code: int, parts: list[Any]) -> dict[str, Any] | None:
    """Return what `packing.py` says of the value, or None if LangGraph's serializer packed it."""
    index = 4 if code == MODEL else 3
    return parts[index] if len(parts) > index and isinstance(parts[index], dict) else None


def _rebuilt(cls: type, code: int, value: Any, facts: dict[str, Any] | None, *, is_whole: bool) -> Any:
    kind = kind_of(cls)
    if kind == "model":
        return _model(cls, value, facts, is_whole=is_whole)
    if kind == "model1" or code == MODEL_1:
        return _model_1(cls, value)
    if kind == "enum":
        return _enum(cls, value, facts)
    if (cls.__module__, cls.__name__) in SAFE_MSGPACK_TYPES:
        return cls(**value) if code == KEYWORDS else (cls(value) if not isinstance(value, list) else cls(*value))
    if kind == "dataclass":
        return _dataclass(cls, value, facts)
    if kind == "attrs" and facts is not None:
        return _with_fields(cls, value)
    return cls(**value)


def _enum(cls: Any, value: Any, facts: dict[str, Any] | None) -> Any:
    try:
        return cls(value)
    except ValueError:
        # A member whose value is another one now is still the member of this name.
        if facts is None or facts.get("name") not in cls.__members__:
            raise
        return cls[facts["name"]]


def _dataclass(cls: Any, values: dict[str, Any], facts: dict[str, Any] | None) -> Any:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    kept = {name: value for name, value in values.items() if name in fields}
    try:
        made = cls(**{name: value for name, value in kept.items() if fields[name].init})
    except Exception:
        if kept.keys() != fields.keys():
            raise
        return _with_fields(cls, kept)
    if facts is not None:
        # What `__post_init__` makes of a value that it has made already is not what was stored.
        for name, value in kept.items():
            _set(made, name, value)
    return made


def _with_fields(cls: Any, values: dict[str, Any]) -> Any:
    """Return an instance with these fields, whose constructor is not called."""
    if any(name not in values for name in field_names(cls)):
        return cls(**{name.lstrip("_"): value for name, value in values.items()})
    made = cls.__new__(cls)
    for name in field_names(cls):
        _set(made, name, values[name])
    return made


def _model(cls: Any, values: dict[str, Any], facts: dict[str, Any] | None, *, is_whole: bool) -> Any:
    if facts is None or type(cls) is not type(BaseModel):
        # Packed by LangGraph's serializer; or a class whose metaclass does more, as SQLModel's does.
        try:
            return cls(**values)
        except Exception:
            return cls.model_construct(**values)
    fields = cls.__pydantic_fields__
    extra: dict[str, Any] = {}
    if values.keys() != fields.keys():
        extra = {name: value for name, value in values.items() if name not in fields}
        values = _completed(cls, {name: value for name, value in values.items() if name in fields})
    if not is_whole and (valid := _validated(cls, values)) is not None:
        # What came back as plain data is rebuilt where a field names its type.
        values = valid
    return _model_with(cls, values, extra, facts)


def _completed(cls: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with defaults of the fields that were not stored. Raises `TypeRefused` if one has none."""
    for name, field in cls.__pydantic_fields__.items():
        if name not in values:
            if field.is_required():
                raise TypeRefused(f"its field {name!r} has no stored value and no default")
            values[name] = field.get_default(call_default_factory=True, validated_data=values)
    return values


def _validated(cls: type[BaseModel], values: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return dict(cls.__pydantic_validator__.validate_python(values, by_name=True).__dict__)
    except Exception:
        return None


def _model_with(cls: type[BaseModel], values: dict[str, Any], extra: dict[str, Any], facts: dict[str, Any]) -> Any:
    fields_set = set(facts["set"]) if "set" in facts else set(values) | set(extra)
    if cls.__pydantic_post_init__:
        # It makes the private attributes, which may be locks or clients.
        model = cls.model_construct(fields_set, **values)
        if model.__pydantic_private__ is not None:
            known = {
                name: item for name, item in facts.get("private", {}).items() if name in cls.__private_attributes__
            }
            model.__pydantic_private__.update(known)
    else:
        model = cls.__new__(cls)
        _set(model, "__pydantic_fields_set__", fields_set)
        _set(model, "__pydantic_private__", None)
    _set(model, "__dict__", values)
    _set(model, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None)
    return model


def _model_1(cls: Any, values: dict[str, Any]) -> Any:
    if kind_of(cls) != "model1":
        return cls(**values)
    try:
        return cls(**values)
    except Exception:
        return cls.construct(**values)


def _datetime(text: str, facts: dict[str, Any]) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(text)
    if zone := facts.get("zone"):
        value = value.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return value.replace(fold=facts["fold"]) if "fold" in facts else value


def _array(arguments: list[Any], facts: dict[str, Any]) -> Any:
    from array import array

    return array(*arguments)


def _safe(module: str, name: str) -> Callable[[Any, Any], Any]:
    def rebuild(value: Any, facts: dict[str, Any]) -> Any:
        made = getattr(importlib.import_module(module), name)
        return made(*value) if isinstance(value, list) else made(**value) if isinstance(value, dict) else made(value)

    return rebuild


def _table(name: str) -> Callable[[Any, Any], Any]:
    def rebuild(value: Any, facts: dict[str, Any]) -> Any:
        from platform_site.core.serialization import tables as checkpoint_tables

        return getattr(checkpoint_tables, name)(value, facts)

    return rebuild


# How values that are no data classes are rebuilt, from their value and facts. No name in a checkpoint leads elsewhere.
_PLAIN: dict[tuple[str, str], Callable[[Any, dict[str, Any]], Any]] = {
    **{
        (module, name): _safe(module, name)
        for module, name in SAFE_MSGPACK_TYPES
        if module in ("datetime", "decimal", "ipaddress", "re", "uuid", "zoneinfo")
    },
    **{
        (module, name): _safe("pathlib", name)
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
    },
    **{
        ("pydantic.types", name): lambda value, facts, name=name: getattr(importlib.import_module("pydantic"), name)(
            value
        )  # type: ignore[misc]
        for name in ("SecretStr", "SecretBytes", "Secret")
    },
    ("builtins", "tuple"): lambda value, facts: tuple(value),
    ("builtins", "set"): lambda value, facts: set(value),
    ("builtins", "frozenset"): lambda value, facts: frozenset(value),
    ("builtins", "dict"): lambda value, facts: dict(value),
    ("builtins", "int"): lambda value, facts: int(value, 16),
    ("builtins", "complex"): lambda value, facts: complex(*value),
    ("builtins", "range"): lambda value, facts: range(*value),
    ("builtins", "slice"): lambda value, facts: slice(*value),
    ("builtins", "Ellipsis"): lambda value, facts: ...,
    ("fractions", "Fraction"): lambda value, facts: Fraction(*value),
    ("collections", "deque"): lambda value, facts: deque(value, facts.get("maxlen")),
    ("collections", "OrderedDict"): lambda value, facts: OrderedDict(value),
    ("collections", "Counter"): lambda value, facts: Counter(value),
    ("collections", "defaultdict"): lambda value, facts: defaultdict(
        _BUILTIN_FACTORIES.get(facts.get("factory", "")), value
    ),
    ("types", "MappingProxyType"): lambda value, facts: MappingProxyType(value),
    ("types", "SimpleNamespace"): lambda value, facts: SimpleNamespace(**value),
    ("array", "array"): _array,
    ("datetime", "datetime"): _datetime,
    ("langgraph.types", "Send"): lambda value, facts: (
        Send(*value[:2], timeout=value[2]) if len(value) > 2 else Send(*value)
    ),
    ("numpy", "scalar"): _table("scalar_from"),
    ("numpy", "ndarray"): _table("odd_array_from"),
    ("numpy.ma", "MaskedArray"): _table("masked_from"),
    **{
        ("pandas", name): _table(f"{name.lower()}_from")
        for name in ("DataFrame", "Series", "Index", "NA", "NaT", "Timestamp", "Timedelta", "Period", "Interval")
    },
}

"""JSON on the wire: one encoder for everything LangChain and LangGraph make, one base for request schemas."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict

from platform_site.core.error_texts import error_body


class Schema(BaseModel):
    """Base of request bodies: types are strict, unknown fields are ignored, null is not absence.

    Not ninja's own Schema: that reads attributes of anything, so a list or a string would pass for an object.
    """

    model_config = ConfigDict(strict=True, extra="ignore")


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and a `+00:00` offset."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _default(value: Any) -> Any:
    # Not at the top: whoever has such values has imported LangGraph, and commands start a second sooner without it.

    # LangGraph takes a second to import; the server answers before it is there.
    if type(value).__name__ == "Interrupt" and type(value).__module__ == "langgraph.types":
        return {"value": value.value, "id": value.id, "response_schema": getattr(value, "response_schema", None)}
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, BaseException):
        return error_body(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (tuple, list)):
        return list(value)
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump()
    if hasattr(value, "_asdict"):
        return value._asdict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (bytes, bytearray)):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (PurePath, UUID, date)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):
        # Larger than 64 bits: orjson has no such integer, JavaScript would round it anyway.
        return float(value)
    if isinstance(value, type):
        return value.__name__
    return repr(value)


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON of anything a graph may hold; what has no JSON form is given as its `repr`.

    Raises `RecursionError` for what is nested deeper than 254 levels.
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except TypeError as error:
        if "Recursion limit" in str(error):
            raise RecursionError(str(error)) from None
        return orjson.dumps(_cleaned(value), default=_default, option=_OPTIONS)


def keep(data: bytes) -> bytes:
    """A copy of encoded JSON for what outlives the call that encoded it: a log, a cache, what waits to be written.

    orjson writes into a buffer of four kilobytes or more, which its bytes hold for as long as they live.
    """
    return bytes(memoryview(data))


def _cleaned(value: Any) -> Any:
    """`value` without what orjson refuses: lone surrogates, odd keys, integers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, Mapping):
        return {_cleaned(key if isinstance(key, str) else str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(item) for item in value]
    if isinstance(value, (datetime, date, UUID)):
        return value
    return _cleaned(_default(value))

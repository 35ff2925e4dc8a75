"""A text of any value that tells types apart at every depth."""

from collections.abc import Mapping
from enum import Enum
from typing import Any
from zlib import crc32

import numpy as np

_MORE = 60


def told(value: Any) -> str:
    """Return the value's type and what it holds, types included. Equal texts mean equal values of equal types."""
    kind = type(value)
    return f"{kind.__module__.removeprefix('builtins')}.{kind.__qualname__}({_held(value)})".removeprefix(".")


def _held(value: Any) -> str:
    if isinstance(value, np.ma.MaskedArray):
        return f"{value.dtype} {value.tolist()!r}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {told(value.tolist())}"
    if isinstance(value, Mapping):
        return ", ".join(f"{told(key)}: {told(member)}" for key, member in value.items())
    if isinstance(value, (set, frozenset)):
        return ", ".join(sorted(map(told, value)))
    if isinstance(value, Enum):
        return value.name or repr(value)
    if isinstance(value, (str, bytes, bytearray, int, float)):
        text = repr(value)
        # A long text is told by its beginning and a checksum: an assertion shows it.
        return text if len(text) <= _MORE else f"{text[:_MORE]}... {crc32(text.encode('utf-8', 'replace'))}"
    if isinstance(value, BaseException):
        return ", ".join(map(told, value.args))
    if hasattr(value, "to_dict") and hasattr(value, "dtypes"):
        return f"{value.dtypes!r} {value.to_dict()!r}"
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return f"{value.dtype!r} {value.tolist()!r}"
    members = {**getattr(value, "__dict__", {}), **(getattr(value, "__pydantic_extra__", None) or {})}
    if members:
        return ", ".join(f"{name}: {told(member)}" for name, member in members.items() if name[:2] != "__")
    try:
        return ", ".join(map(told, value))
    except TypeError:
        return repr(value)

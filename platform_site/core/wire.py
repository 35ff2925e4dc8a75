"""JSON on the wire: one encoder for everything LangChain and LangGraph make, one base for request schemas."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from platform_site.core.error_texts import error_body
from platform_site.core.json_forms import Unordered, plain


class Schema(BaseModel):
    """Base of request bodies: types are strict, unknown fields are ignored, null is not absence.

    Not ninja's own Schema: that reads attributes of anything, so a list or a string would pass for an object.
    """

    model_config = ConfigDict(strict=True, extra="ignore")


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and a `+00:00` offset."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _default(value: Any) -> Any:
    if isinstance(value, BaseException):
        return error_body(value)
    form = plain(value)
    if type(form) is Unordered:
        # Each is encoded once: encoded again for the answer, sets in sets would take twice as long with each level.
        return [orjson.Fragment(text) for text in sorted(map(encode, form))]
    return form


# Not numpy's kinds: orjson shows dates that are none (NaT) as 1970.
_OPTIONS = orjson.OPT_NON_STR_KEYS
# Bits of an integer key that is shown in decimal.
_LONGEST_KEY = 10_000
# A NUL in a JSON text, which is written as an escape. An even number of backslashes before it belongs to others.
_MAY_BE_NUL = re.compile(rb"\\u0000")
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def without_nul(text: bytes) -> bytes:
    """Return the JSON with U+FFFD in place of each NUL of its strings."""
    # Most texts have no backslash at all, which costs next to nothing to find out.
    if b"\\" not in text or _MAY_BE_NUL.search(text) is None:
        return text
    return _NUL.sub(rb"\1\\ufffd", text)


def has_nul(text: bytes) -> bool:
    """Return whether a string of this JSON holds NUL, which PostgreSQL cannot keep."""
    return b"\\" in text and _NUL.search(text) is not None


def encode(value: Any) -> bytes:
    """Return compact UTF-8 JSON of anything a graph may hold: the one form in which clients see it, wherever they look.

    `core.json_forms` says what objects look like; what has no form is null. Numbers that are infinite or no numbers are
    null, integers beyond 64 bits are doubles, keys are text. Raises `RecursionError` for what is nested deeper than 254
    levels.
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except TypeError as error:
        if "recursion limit" in str(error).lower():
            raise RecursionError(str(error)) from None
        if isinstance(error.__cause__, (RecursionError, MemoryError)):
            # Of a form, which orjson takes for an object that it does not know. Each level would try it again.
            raise error.__cause__ from None
        return _in_parts(value)


def _in_parts(value: Any) -> bytes:
    """Encode what orjson refuses part by part, so that an odd part does not change how the others are shown."""
    if isinstance(value, Mapping):
        members = {_key(key): orjson.Fragment(encode(member)) for key, member in value.items()}
        return orjson.dumps(members)
    if isinstance(value, list) or type(value) is tuple:
        return orjson.dumps([orjson.Fragment(encode(member)) for member in value])
    return encode(_default(value))


def _key(key: Any) -> str:
    """Return a key as text: its JSON, strings without quotes. Keys that have no JSON must not all become one."""
    if isinstance(key, int) and not isinstance(key, bool):
        # Python refuses to write the longest ones in decimal.
        return str(int(key)) if key.bit_length() < _LONGEST_KEY else hex(key)
    text = encode(key)
    if text == b"null" and key is not None:
        return str(key)
    return orjson.loads(text) if text.startswith(b'"') else text.decode()


def keep(data: bytes) -> bytes:
    """A copy of encoded JSON for what outlives the call that encoded it: a log, a cache, what waits to be written.

    orjson writes into a buffer of four kilobytes or more, which its bytes hold for as long as they live.
    """
    return bytes(memoryview(data))

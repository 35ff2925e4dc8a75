"""Reading files that people write: their encoding, their JSON, and how a mistake in them is told."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from platform_site.core.project import sections as sections

# Byte order marks that editors on Windows write in front of a text. No editor writes UTF-32.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class ConfigError(Exception):
    """`langgraph.json` cannot be served. The message names the file, the key and what was expected."""


def read_text(path: Path, expected: str) -> tuple[str, list[str]]:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, and a warning of such a mark.

    Raises ConfigError that says what was `expected`, and FileNotFoundError.
    """
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
        text = data.decode(encoding or "utf-8")
    except NotADirectoryError:
        raise FileNotFoundError(path) from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory; expected {expected}") from None
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected {expected} in UTF-8") from None
    if encoding is None:
        return text, []
    return text, [f"{path.name} begins with a byte order mark ({encoding[:6].upper()}); save it as plain UTF-8"]


def parse(path: Path) -> tuple[sections.File, list[str]]:
    """Return a `langgraph.json` as it was written, with warnings. Raises ConfigError."""
    try:
        text, warnings = read_text(path, "a JSON file")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected the path of a langgraph.json") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: expected valid JSON ({error.msg})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a JSON object with `graphs`, not {kind(data)}")
    if data.get("encryption"):
        # Going on without it would write in clear what its owner wants encrypted.
        raise ConfigError(f"{path}: `encryption`: custom encryption is not supported; expected a file without this key")
    try:
        return sections.File.model_validate(data), warnings
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in complaints(error))) from None


def json_object(place: str, text: str, what: str) -> dict[str, Any]:
    """Return the JSON object that the variable at `place` holds, which is `what`. Raises ConfigError."""
    try:
        written = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: expected a JSON object, {what} ({error.msg})") from None
    if not isinstance(written, dict):
        raise ConfigError(f"{place}: expected a JSON object, {what}, not {kind(written)}")
    return written


def complaints(error: ValidationError) -> Iterator[str]:
    """Yield one line for each mistake: the key, what was expected, what was found."""
    seen = set()
    for item in error.errors():
        # Branches of a union ("str", "Graph") are no keys of the file.
        parts = [str(part) for part in item["loc"] if not _is_branch(part)]
        key = ".".join(parts) or "the file"
        if item["type"] == "missing":
            line = f"`{key}` is missing"
        else:
            text = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
            got = _shown(item["input"])
            line = f"`{key}`: {text[:1].lower()}{text[1:]}"
            if not text.startswith(got):
                line += f", not {got}"
        if line not in seen:
            seen.add(line)
            yield line


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in ("str", "int", "float", "bool", "Graph") or part.startswith(("dict[", "list[", "function-"))
    )


def kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else kind(value)

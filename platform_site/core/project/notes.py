"""What a `langgraph.json` says without effect here, as sentences for the log of the start."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from platform_site.core.project.sections import File, Section


def notes(directory: Path, written: File) -> Iterator[str]:
    """Yield a sentence for each key that is unknown or has no effect, and for what will not work as it is written."""
    yield from _python_version(written)
    yield from _keys(written)
    for entry in written.dependencies:
        if not is_local(entry) and (directory / entry).is_dir():
            yield f"`dependencies`: {entry!r} is read as the name of a package; write './{entry}' for the directory"


def is_local(entry: str) -> bool:
    """Return whether an entry of `dependencies` is a directory, and not the name of a package."""
    return entry.startswith(".") or Path(entry).is_absolute()


def _python_version(written: File) -> Iterator[str]:
    version = _asked_version(written)
    if version > sys.version_info[:2]:
        asked, ours = (".".join(map(str, found[:2])) for found in (version, sys.version_info))
        yield (
            f"`python_version` is {asked}, but this is Python {ours}: newer syntax and packages will fail; "
            f"run `make clean`, then `make serve PYTHON=python{asked}`"
        )


def _asked_version(written: File) -> tuple[int, ...]:
    text = str((written.model_extra or {}).get("python_version") or "")
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _keys(section: Section, prefix: str = "") -> Iterator[str]:
    known = {info.alias or name: name for name, info in type(section).model_fields.items()}
    by_reason: dict[str, list[str]] = defaultdict(list)
    for key, reason in section.WITHOUT_EFFECT.items():
        if _is_asked_for(section, key):
            by_reason[reason].append(f"{prefix}{key}")
    for reason, keys in by_reason.items():
        named = ", ".join(f"`{key}`" for key in sorted(keys))
        yield f"{named} {'has' if len(keys) == 1 else 'have'} no effect: {reason}"
    for key in section.model_extra or {}:
        if key not in section.WITHOUT_EFFECT:
            matches = get_close_matches(key, known, n=1)
            hint = f"; did you mean `{prefix}{matches[0]}`?" if matches else ""
            yield f"`{prefix}{key}` is unknown and has no effect{hint}"
    for key, name in known.items():
        value = getattr(section, name)
        for inner, place in _inner(value, f"{prefix}{key}."):
            yield from _keys(inner, place)


def _is_asked_for(section: Section, key: str) -> bool:
    if isinstance(section, File) and key == "python_version":
        # A newer one has a sentence of its own, and ours is what was asked for.
        return () < _asked_version(section) < sys.version_info[:2]
    return key in section.model_fields_set and bool(getattr(section, key))


def _inner(value: object, place: str) -> Iterator[tuple[Section, str]]:
    if isinstance(value, Section):
        yield value, place
    elif isinstance(value, dict):
        yield from ((inner, f"{place}{name}.") for name, inner in value.items() if isinstance(inner, Section))

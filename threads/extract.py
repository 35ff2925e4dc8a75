"""Paths into a thread, as the search's `extract` names them: `values.messages[-1].content`."""

import re
from dataclasses import dataclass
from typing import Any

from platform_site.core.errors import Unprocessable

ROOTS = ("config", "interrupts", "metadata", "values")
MAX_PATHS = 10
_PART = re.compile(r"([^.\[\]]+)|\[(-?\d{1,9})\]")


@dataclass(frozen=True)
class ExtractPath:
    """A root column and the keys and indexes that lead from it to a value."""

    column: str
    steps: tuple[str | int, ...]

    def of(self, value: Any) -> Any:
        """The value at the end of the path, None where the path leads nowhere."""
        for step in self.steps:
            if isinstance(step, int):
                if not isinstance(value, list) or not -len(value) <= step < len(value):
                    return None
                value = value[step]
            elif isinstance(value, dict):
                value = value.get(step)
            else:
                return None
        return value


def parse_extract(paths: dict[str, str]) -> dict[str, ExtractPath]:
    """Alias to path. Raises `Unprocessable` for more than ten paths and for a root that is none."""
    if len(paths) > MAX_PATHS:
        raise Unprocessable(f"At most {MAX_PATHS} extract paths are allowed, not {len(paths)}")
    return {alias: _parse(text) for alias, text in paths.items()}


def _parse(text: str) -> ExtractPath:
    root, dot, rest = text.partition(".")
    root, bracket, index = root.partition("[")
    if root not in ROOTS:
        raise Unprocessable(f"Extract path '{text}' must start with one of: {', '.join(ROOTS)}")
    steps: list[str | int] = []
    for key, number in _PART.findall(bracket + index + dot + rest):
        steps.append(key if key else int(number))
    return ExtractPath(root, tuple(steps))

"""Which view answers a path: the API's URL patterns, indexed by their first segment.

Django tries its patterns one after another; with some seventy routes that costs more than the rest of the request.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver

View = Callable[..., Any]

# Answered without credentials, and without a body.
PUBLIC = frozenset({"/ok", "/info", "/metrics", "/docs", "/openapi.json"})


@dataclass(frozen=True, slots=True)
class Match:
    """A view, its arguments, and its route as the documentation writes it: `/threads/{thread_id}`."""

    view: View
    arguments: Mapping[str, Any]
    route: str


class Routes:
    """The flattened patterns of a URLconf. The first pattern that matches wins, as in Django."""

    def __init__(self, patterns: list[URLPattern | URLResolver], *, without: Container[str] = ()) -> None:
        """`without`: groups of operations that are left out."""
        self._without = without
        self._by_segment: dict[str, list[tuple[URLPattern, str, str]]] = {}
        self._anywhere: list[tuple[URLPattern, str, str]] = []
        self._add(patterns, "")

    def _add(self, patterns: list[URLPattern | URLResolver], prefix: str) -> None:
        for pattern in patterns:
            text = str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                if "<" in text:
                    raise ValueError(f"the prefix {text!r} of an include has parameters, which is not supported")
                self._add(pattern.url_patterns, prefix + text)
                continue
            if pattern.name == "api-root":
                # Ninja's own way to know where it is mounted; no operation.
                continue
            entry = (pattern, prefix, _documented("/" + prefix + text))
            if group_of(entry[2]) in self._without:
                continue
            first = (prefix + text).partition("/")[0]
            if "<" in first:
                self._anywhere.append(entry)
            else:
                self._by_segment.setdefault(first, []).append(entry)

    def match(self, path: str) -> Match | None:
        """The match of an absolute path, None if there is none."""
        relative = path[1:]
        for entries in (self._by_segment.get(relative.partition("/")[0], ()), self._anywhere):
            for pattern, prefix, route in entries:
                if not relative.startswith(prefix):
                    continue
                if found := pattern.pattern.match(relative[len(prefix) :]):
                    return Match(pattern.callback, {**pattern.default_args, **found[2]}, route)
        return None


def group_of(route: str) -> str:
    """The group of operations that a route belongs to, as `http.disable_<group>` of langgraph.json names it."""
    segments = route.split("/")[1:]
    if "runs" in (segments[0], *segments[2:3]):
        return "runs"
    return _GROUPS.get(segments[0], "")


_GROUPS = {
    "assistants": "assistants",
    "threads": "threads",
    "store": "store",
    "mcp": "mcp",
    "a2a": "a2a",
    ".well-known": "a2a",
    "info": "meta",
    "metrics": "meta",
    "docs": "meta",
    "openapi.json": "meta",
}


def _documented(route: str) -> str:
    parts = []
    for segment in route.split("/"):
        if segment.startswith("<") and segment.endswith(">"):
            segment = "{" + segment[1:-1].rpartition(":")[2] + "}"
        parts.append(segment)
    return "/".join(parts)

"""Which headers of a request go further than the request: into a run's configuration, and into the log."""

import re
from collections.abc import Iterable
from functools import cache

from platform_site.core.config import config
from platform_site.core.project.sections import HeaderChoice

# Taken only when they are included by their whole name: no pattern should hand out credentials.
_SECRET = {"authorization", "cookie", "proxy-authorization", "x-api-key"}


class HeaderFilter:
    """The rules of one section of `http`; without one nothing is taken."""

    def __init__(self, choice: HeaderChoice | None, *, includes_by_default: bool = False) -> None:
        included = choice.includes if choice else []
        if included is None:
            included = ["*"] if includes_by_default else []
        self._names = {name.lower() for name in included}
        self._included = _pattern(included)
        self._excluded = _pattern((choice.excludes if choice else None) or [])
        self._takes_any = bool(included)

    def taken(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """The headers that are taken, by their names in small letters. Of those sent twice the last counts."""
        if not self._takes_any:
            return {}
        found = {}
        for raw_name, value in headers:
            name = raw_name.decode("latin-1").lower()
            if self._takes(name):
                found[name] = value.decode("latin-1")
        return found

    def _takes(self, name: str) -> bool:
        if name in _SECRET and name not in self._names:
            return False
        return bool(self._included.fullmatch(name)) and not self._excluded.fullmatch(name)


def _pattern(names: list[str]) -> re.Pattern[str]:
    alternatives = [".*".join(re.escape(part) for part in name.lower().split("*")) for name in names]
    # Without alternatives: what no name matches.
    return re.compile("|".join(alternatives) or r"(?!)")


@cache
def configurable_headers() -> HeaderFilter:
    """`http.configurable_headers`: what runs find in their `configurable`."""
    return HeaderFilter(config().http.configurable_headers)


@cache
def logging_headers() -> HeaderFilter:
    """`http.logging_headers`: what the line of a request in the log shows; with `excludes` alone all others."""
    return HeaderFilter(config().http.logging_headers, includes_by_default=True)

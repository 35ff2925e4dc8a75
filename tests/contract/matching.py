"""Comparing an answer with a recorded one whose ids, times and vendor values are placeholders."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

# Values that name the server product: optional on either side.
VENDOR = {
    "langgraph_version",
    "langgraph_api_version",
    "langgraph_plan",
    "langgraph_host",
    "langgraph_api_url",
    "langgraph_request_id",
    "lc_versions",
}
# Of the keys that begin with two underscores only these belong to the contract.
REQUIRED_DUNDERS = {"__interrupt__", "__error__"}
PLACEHOLDER = re.compile(r"<(uuid|hex|evid):(\d+)>|<(ts|ms|base|any)>")
PATTERNS = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "hex": r"[0-9a-f]{32}",
    "evid": r"\d+-\d+",
    "ts": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00",
    "ms": r"\d{13}",
    "base": r"https?://[^/]+",
    "any": r".*",
}


class Ids:
    """The values that the placeholders of one file stand for."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        # Two events may share an id on the recorded server and must not on ours: a set, in order of sighting.
        self.event_ids: dict[str, list[str]] = {}
        self.sighted_now: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """The value of `uuid:3`; one that was not seen yet is a new random id."""
        if name.startswith("evid:"):
            return self.event_ids[name][-1]
        return self.values.setdefault(name, str(uuid.uuid4()))

    def __setitem__(self, name: str, value: str) -> None:
        self.values[name] = value

    def fill(self, recorded: Any) -> Any:
        """A recorded request with the placeholders replaced, in strings, lists and keys."""
        if isinstance(recorded, str):
            return PLACEHOLDER.sub(lambda found: self[found[0][1:-1]], recorded)
        if isinstance(recorded, list):
            return [self.fill(item) for item in recorded]
        if isinstance(recorded, dict):
            return {self.fill(key): self.fill(value) for key, value in recorded.items()}
        return recorded

    def begin_exchange(self) -> None:
        self.sighted_now.clear()

    def text_matches(self, expected: str, actual: str) -> bool:
        """Whether the text is the recorded one; binds the placeholders that are met for the first time."""
        pattern, groups, position = "", [], 0
        for found in PLACEHOLDER.finditer(expected):
            kind = found[1] or found[3]
            pattern += re.escape(expected[position : found.start()]) + f"({PATTERNS[kind]})"
            groups.append(found[0][1:-1])
            position = found.end()
        match = re.fullmatch(pattern + re.escape(expected[position:]), actual, re.DOTALL)
        if match is None:
            return False
        return all(self._bind(name, value) for name, value in zip(groups, match.groups(), strict=True))

    def _bind(self, name: str, value: str) -> bool:
        if name.startswith("evid:"):
            seen = self.event_ids.setdefault(name, [])
            if not seen or name in self.sighted_now:
                self.sighted_now.add(name)
                seen.append(value)
            return value in seen
        if ":" not in name:
            return True
        return self.values.setdefault(name, value) == value


def differences(expected: Any, actual: Any, ids: Ids, place: str = "$") -> Iterator[str]:
    """Each way in which the actual value departs from the recorded one, as `place: what`."""
    if expected == "<any>":
        return
    if expected == "<ms>" and isinstance(actual, int):
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from _dict_differences(expected, actual, ids, place)
    elif isinstance(expected, list) and isinstance(actual, list):
        if all(isinstance(item, str) for item in [*expected, *actual]):
            expected = [item for item in expected if item not in VENDOR]
            actual = [item for item in actual if item not in VENDOR]
        if len(expected) != len(actual):
            yield f"{place}: {len(actual)} items instead of {len(expected)}: {_short(actual)} for {_short(expected)}"
            return
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(left, right, ids, f"{place}[{index}]")
    elif isinstance(expected, str) and isinstance(actual, str):
        if not ids.text_matches(expected, actual):
            yield f"{place}: {actual!r} instead of {ids_shown(expected, ids)!r}"
    elif not _is_same(expected, actual):
        yield f"{place}: {_short(actual)} instead of {_short(expected)}"


def _is_same(left: Any, right: Any) -> bool:
    """Equal and of one type, so that 1 is not true; whole numbers may be written with a point or without."""
    return left == right and (type(left) is type(right) or {type(left), type(right)} == {int, float})


def _dict_differences(expected: dict[str, Any], actual: dict[str, Any], ids: Ids, place: str) -> Iterator[str]:
    left, right = _without_optional(expected), _without_optional(actual)
    for key in [key for key, value in left.items() if value == "<any>"]:
        del left[key]
        right.pop(key, None)
    # Keys may be placeholders, too: interrupts by task id.
    renamed: dict[str, str] = {}
    for key in left:
        if PLACEHOLDER.search(key):
            renamed[key] = next((other for other in right if ids.text_matches(key, other)), key)
    for key, value in left.items():
        name = renamed.get(key, key)
        if name in right:
            yield from differences(value, right[name], ids, f"{place}.{name}")
        else:
            yield f"{place}.{name}: missing, should be {_short(value)}"
    for key in right.keys() - {renamed.get(key, key) for key in left}:
        yield f"{place}.{key}: not in the contract, value {_short(right[key])}"


def _without_optional(document: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in document.items()
        if key not in VENDOR and (not key.startswith("__") or key in REQUIRED_DUNDERS)
    }


def ids_shown(text: str, ids: Ids) -> str:
    """A recorded text with the ids that are known filled in, for messages."""
    return PLACEHOLDER.sub(lambda found: ids.values.get(found[0][1:-1], found[0]), text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."

"""The serializer of checkpoints: types of the project come back, and what does not is told of.

It reads what LangGraph's serializer has written. Imported only where checkpoints are used: LangGraph takes a second.
"""

import copy
import logging
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from platform_site.core.serialization.forms import DELTA, MODEL
from platform_site.core.serialization.packing import ValueNotStorable, packed, shown_path
from platform_site.core.serialization.types import AllowedTypes, TypeName
from platform_site.core.serialization.unpacking import Degraded, Unpacker

logger = logging.getLogger("switchyard.runs")

# The most types that the log names. It names each once in the life of the process.
_MOST_TOLD = 1000
_LOSSES_IN_ERROR = 5
_ADVICE = " More types are allowed in `checkpointer.serde.allowed_msgpack_modules` of langgraph.json."
# LangGraph's note on an exception of a node.
_NODE_IN_NOTE = re.compile(r"During task with name '([^']*)'")
_told: set[tuple[str, str]] = set()


class Loss(NamedTuple):
    """A value that came back as plain data: its key, its type as `module.name`, and why."""

    key: str
    module: str
    name: str
    reason: str

    def __str__(self) -> str:
        key = f"`{self.key}` was" if self.key else "a value that was"
        return f"{key} stored as {self.module}.{self.name} and cannot be rebuilt, because {self.reason}"


class Losses:
    """What came back as plain data while one attempt, or one call of the state API, read checkpoints."""

    def __init__(self) -> None:
        self._of_types: dict[tuple[str, str], Loss] = {}

    def __iter__(self) -> Iterator[Loss]:
        return iter(list(self._of_types.values()))

    def note(self, channel: str | None, data: bytes, degraded: Iterable[Degraded]) -> None:
        """Remember the first key of each type that is not known yet."""
        new = {(item.module, item.name): item.reason for item in degraded}
        new = {key: reason for key, reason in new.items() if key not in self._of_types}
        if not new:
            return
        places = _places(data, new.keys())
        for key, reason in new.items():
            path = [*([] if channel is None else [channel]), *places.get(key, ())]
            if channel is None and path[:1] == ["channel_values"]:
                # The whole checkpoint was packed as one.
                path = path[1:]
            self._of_types[key] = Loss(shown_path(path), *key, reason)


def told_losses(error: BaseException, losses: Losses) -> str:
    """Return sentences on what was lost when checkpoints were read, for the text of a run's error. Begin with a space.

    A node that is given a dict in place of an object fails by it, and its own message does not say why.
    """
    notes = " ".join(getattr(error, "__notes__", ()))
    node = f"Node '{found[1]}' was given" if (found := _NODE_IN_NOTE.search(notes)) else "The run was given"
    told = "".join(f" {node} plain data: {loss}." for loss in list(losses)[:_LOSSES_IN_ERROR])
    return told + _ADVICE if told else ""


class CheckpointSerializer(JsonPlusSerializer):
    """Packs with the forms of `packing.py`; rebuilds the types that are allowed."""

    def __init__(self, types: AllowedTypes, *, json_types: Collection[TypeName] = ()) -> None:
        super().__init__(
            pickle_fallback=types.rules.pickles,
            allowed_json_modules=json_types or None,
            # None means strict, whether or not LANGGRAPH_STRICT_MSGPACK was set before LangGraph was imported.
            allowed_msgpack_modules=None,
        )
        self.types = types
        # Where an attempt collects what it lost (`noting`). None for the shared serializer, which only writes the log.
        self.losses: Losses | None = None

    def noting(self, losses: Losses) -> "CheckpointSerializer":
        """Return a copy that remembers there what came back as plain data."""
        clone = copy.copy(self)
        clone.losses = losses
        return clone

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[TypeName | type]) -> "CheckpointSerializer":
        names = [(item.__module__, item.__name__) if isinstance(item, type) else item for item in extra_allowlist]
        types = self.types.widened(names)
        if types is self.types:
            return self
        clone = copy.copy(self)
        clone.types = types
        return clone

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if obj is None:
            return "null", b""
        if type(obj) is bytes:
            return "bytes", obj
        if type(obj) is bytearray:
            return "bytearray", bytes(obj)
        return "msgpack", packed(obj, pickles=self.types.rules.pickles)

    def dumps_channel(self, channel: str, value: Any, task_id: str = "") -> tuple[str, bytes]:
        """Pack a value of the state. Raises `ValueNotStorable`, which names its key and knows its task."""
        try:
            return self.dumps_typed(value)
        except ValueNotStorable as error:
            raise error.under(channel, task_id) from None

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return self.loads_channel(None, data)

    def loads_channel(self, channel: str | None, data: tuple[str, bytes]) -> Any:
        """Read one value. `channel` is the key of the state that it belongs to, None for a whole checkpoint."""
        if data[0] != "msgpack":
            return super().loads_typed(data)
        unpacker = Unpacker(self.types)
        value = unpacker.unpack(data[1])
        if unpacker.degraded:
            self._tell(channel, data[1], unpacker.degraded)
        return value

    def _tell(self, channel: str | None, data: bytes, degraded: list[Degraded]) -> None:
        losses = self.losses if self.losses is not None else Losses()
        new = [item for item in degraded if (item.module, item.name) not in _told and len(_told) < _MOST_TOLD]
        if self.losses is None and not new:
            return
        losses.note(channel, data, degraded)
        _told.update((item.module, item.name) for item in new)
        for loss in losses:
            if any((loss.module, loss.name) == (item.module, item.name) for item in new):
                logger.warning("a value of a checkpoint: %s", loss)


def keys_only() -> JsonPlusSerializer:
    """Return a serializer that reads the structure of checkpoints and rebuilds nothing in them."""
    return JsonPlusSerializer(allowed_msgpack_modules=None, __unpack_ext_hook__=lambda code, data: None)


class _Extension(NamedTuple):
    module: str
    name: str
    value: Any


def _places(data: bytes, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Any]]:
    """Return the path of the first value of each type."""

    def extension(code: int, content: bytes) -> Any:
        if code == DELTA:
            return unpack(content)
        if code > MODEL:
            return None
        module, name, value = unpack(content)[:3]
        return _Extension(module, name, value)

    def unpack(content: bytes) -> Any:
        return ormsgpack.unpackb(content, ext_hook=extension, option=ormsgpack.OPT_NON_STR_KEYS)

    found: dict[tuple[str, str], list[Any]] = {}

    def walk(value: Any, path: list[Any]) -> None:
        if isinstance(value, _Extension):
            if (value.module, value.name) in wanted:
                found.setdefault((value.module, value.name), path)
            walk(value.value, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, [*path, key])
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, [*path, index])

    walk(unpack(data), [])
    return found

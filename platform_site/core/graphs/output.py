"""The part of a graph's state that its clients see: the channels of its output schema."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from platform_site.core.wire import encode

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

INTERRUPT = "__interrupt__"


@dataclass(frozen=True)
class Output:
    """The output channels of a graph. `keys` is None if the output is the whole state."""

    keys: Sequence[str] | None = None

    @classmethod
    def of(cls, graph: "Pregel[Any, Any, Any, Any]") -> "Output":
        """Return the output channels of this graph."""
        channels = graph.output_channels
        if isinstance(channels, str) or set(graph.stream_channels_list) <= set(channels):
            return cls()
        return cls(tuple(channels))

    def shown(self, values: Any) -> Any:
        """Return what clients see of these values of the state."""
        if self.keys is None or not isinstance(values, dict):
            return values
        return {key: values[key] for key in self.keys if key in values}

    def shown_json(self, values: bytes) -> bytes:
        """Return what clients see of these values of the state, both as JSON."""
        return values if self.keys is None else orjson.dumps(self.shown(orjson.loads(values)))

    def answer(self, values: Any, questions: Sequence[Any]) -> bytes:
        """Return as JSON what `wait` and `join` answer: the values that clients see, and the open interrupts.

        Values that are no object have no place for interrupts, which are answered alone then.
        """
        shown = self.shown(values)
        if questions:
            shown = {**(shown if isinstance(shown, dict) else {}), INTERRUPT: questions}
        return encode(shown)


def questions_of(interrupts: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> list[dict[str, Any]]:
    """Return the interrupts that a thread holds by task, as a flat list in the form in which streams show them."""
    asked = [interrupt for of_task in (interrupts or {}).values() for interrupt in of_task]
    return [{"value": interrupt["value"], "id": interrupt["id"], "response_schema": None} for interrupt in asked]

"""What a graph streams, as the events of the wire: names, payloads, order."""

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import BaseMessageChunk, message_chunk_to_message
from langgraph.types import StreamMode

from platform_site.core.graphs.output import INTERRUPT, Output
from platform_site.core.wire import encode, keep

Named = tuple[str, bytes]
_PASSED_ON: tuple[StreamMode, ...] = ("values", "updates", "custom", "tasks", "checkpoints", "debug")


def graph_modes(asked: Sequence[str]) -> list[StreamMode]:
    """LangGraph's stream modes for those that were asked for; `values` is always there, the outcome needs it."""
    modes: list[StreamMode] = ["values"]
    modes += [mode for mode in _PASSED_ON if mode in asked and mode != "values"]
    if "messages" in asked or "messages-tuple" in asked:
        modes.append("messages")
    return modes


class EventEncoder:
    """Turns the chunks of one attempt into events, and remembers the root graph's last values and open interrupts."""

    def __init__(self, asked: Sequence[str], *, subgraphs: bool) -> None:
        self._asked = frozenset(asked)
        self._subgraphs = subgraphs
        self._messages: dict[str, Any] = {}
        self._values: Any = None
        self._encoded_values: bytes | None = None
        self._questions: list[Any] = []
        self.has_values = False
        # What clients see of the graph's state: known once the graph is open.
        self.output = Output()

    @property
    def outcome(self) -> bytes:
        """The last values and the interrupts that were streamed, as JSON: what `wait` answers."""
        return self.outcome_with(self._questions)

    def outcome_with(self, questions: Sequence[Any]) -> bytes:
        """Return the last values and these open interrupts as JSON."""
        if self._encoded_values is not None and not questions:
            return self._encoded_values
        return self.output.answer(self._values if self.has_values else {}, questions)

    def events(self, namespace: tuple[str, ...], mode: str, chunk: Any) -> Iterator[Named]:
        """Return the events of one chunk, in order."""
        suffix = "".join(f"|{part}" for part in namespace)
        if mode == "messages":
            yield from self._message_events(chunk, suffix)
            return
        if mode == "values":
            encoded = encode(chunk) if "values" in self._asked else None
            if not namespace:
                self._remember(chunk, encoded)
            if encoded is not None:
                yield "values" + suffix, encoded
            return
        if mode == "checkpoints":
            chunk = _checkpoint_wire(chunk)
        elif mode == "debug" and chunk.get("type") == "checkpoint":
            chunk = {**chunk, "payload": _debug_checkpoint_wire(chunk["payload"])}
        yield mode + suffix, encode(chunk)

    def _remember(self, chunk: Any, encoded: bytes | None) -> None:
        """Keep the root's values and interrupts.

        Each task that interrupts sends one chunk with its own interrupts. Where other tasks of the step have finished,
        one more chunk follows that has their values and no interrupts. The graph stops after that step.
        """
        if isinstance(chunk, dict) and INTERRUPT in chunk:
            self._questions += chunk[INTERRUPT]
            chunk, encoded = {key: value for key, value in chunk.items() if key != INTERRUPT}, None
        elif encoded is not None and "events" in self._asked and self.output.keys is not None:
            # The stream has shown the whole state, and the outcome shows the output only.
            encoded = None
        self.has_values, self._values = True, chunk
        self._encoded_values = None if encoded is None else keep(encoded)

    def _message_events(self, chunk: Any, suffix: str) -> Iterator[Named]:
        message, metadata = chunk
        if "messages-tuple" in self._asked:
            yield "messages" + suffix, encode((message, metadata))
            return
        message_id = str(message.id)
        known = self._messages.get(message_id)
        if known is None:
            yield "messages/metadata", encode({message_id: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            whole = known + message if isinstance(known, BaseMessageChunk) else message
            self._messages[message_id] = whole
            yield "messages/partial", encode([message_chunk_to_message(whole)])
        else:
            self._messages[message_id] = message
            yield "messages/complete", encode([message])


def _config_wire(config: Any) -> Any:
    if not config:
        return None
    configurable = {key: value for key, value in config["configurable"].items() if not key.startswith("__")}
    return {"configurable": configurable}


def _checkpoint_wire(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        **payload,
        "config": _config_wire(payload.get("config")),
        "parent_config": _config_wire(payload.get("parent_config")),
    }


def _debug_checkpoint_wire(payload: dict[str, Any]) -> dict[str, Any]:
    wire = _checkpoint_wire(payload)
    for name, config in (("checkpoint", wire["config"]), ("parent_checkpoint", wire["parent_config"])):
        wire[name] = config and {
            key: config["configurable"].get(key) for key in ("checkpoint_id", "thread_id", "checkpoint_ns")
        }
    if "tasks" in wire:
        wire["tasks"] = [_debug_task_wire(task) for task in wire["tasks"]]
    return wire


def _debug_task_wire(task: dict[str, Any]) -> dict[str, Any]:
    """Return the task with the place of its subgraph's state as `checkpoint`."""
    if not (config := task.get("state")):
        return task
    shown = {key: value for key, value in task.items() if key != "state"}
    return {**shown, "checkpoint": _config_wire(config)["configurable"]}

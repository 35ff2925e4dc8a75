"""The events of a run as rows of HTML. Everything a graph sent is escaped; tokens of one message flow into one row."""

from typing import Any

import orjson
from django.utils.html import escape

from platform_site.console.wording import size
from platform_site.core.events.interface import Event

# Of a longer text the row shows the beginning; larger events are named by their size, not unpacked.
MAX_SUMMARY = 240
MAX_UNPACKED = 200_000
# Rows that one batch may bring; of more only the newest are shown.
MAX_ROWS = 400

# In place of events that went before the page had them.
LOST = (
    '<li class="break"><span>Some events of this run are not kept any more. Here are the later ones; '
    "the timeline above and the thread's state have all of the run.</span></li>"
)


class EventRows:
    """Turns batches of one run's events into rows; remembers whose message is being written."""

    def __init__(self, begin_ms: int) -> None:
        self.begin_ms = begin_ms
        # Message id to the element its text goes into, and how much of it is there.
        self._texts: dict[str, tuple[str, int]] = {}
        self._nodes: dict[str, str] = {}
        # In the current batch: what is written into which element, and which elements begin in it.
        self._added: dict[str, list[str]] = {}
        self._new: set[str] = set()

    def batch(self, events: list[Event]) -> str:
        """The HTML of these events, to be appended to the log."""
        left_out = max(0, len(events) - MAX_ROWS)
        self._added = {}
        self._new = set()
        rows: list[tuple[str, str | None]] = []
        if left_out:
            rows.append((f'<li class="break"><span>{left_out:,} earlier events are not shown.</span></li>', None))
        for event in events[left_out:]:
            rows.extend(self._row(event))
        # A row of this batch takes its text along; what older rows get is put into them.
        out = [html if element is None else html.format(self._text_of(element)) for html, element in rows]
        for element in self._added:
            if element not in self._new:
                out.append(f'<span hx-swap-oob="beforeend:#{element}">{self._text_of(element)}</span>')
        return "".join(out)

    def _text_of(self, element: str) -> str:
        return _one_line(escape("".join(self._added.get(element, []))))

    def _row(self, event: Event) -> list[tuple[str, str | None]]:
        """The row of an event, with the element whose text is still to be filled in; none if it adds to another."""
        name, _, namespace = event.name.partition("|")
        inside = "".join(f"{part.split(':', 1)[0]} › " for part in namespace.split("|") if part)
        if len(event.data) > MAX_UNPACKED:
            text = f"{size(len(event.data))}, too large to show here"
            return [(self._line(event, name, inside.rstrip(" ›"), text), None)]
        data = orjson.loads(event.data) if event.data else None
        if name == "messages/metadata":
            self._remember_nodes(data)
            return []
        if (written := _written(name, data)) is not None:
            return self._message(event, name, inside, *written)
        node, text = summary(name, data)
        place = inside + node if node else inside.rstrip(" ›")
        return [(self._line(event, name, place, text, bad=name == "error"), None)]

    def _remember_nodes(self, data: Any) -> None:
        for message_id, about in (data if isinstance(data, dict) else {}).items():
            metadata = about.get("metadata", {}) if isinstance(about, dict) else {}
            self._nodes[message_id] = str(metadata.get("langgraph_node", ""))

    def _message(
        self, event: Event, name: str, inside: str, message: dict[str, Any], node: str, is_delta: bool
    ) -> list[tuple[str, str | None]]:
        message_id = str(message.get("id") or "")
        text = message_text(message)
        known = self._texts.get(message_id) if message_id else None
        if known is not None:
            element, length = known
            new = text if is_delta else text[length:]
            self._texts[message_id] = (element, length + len(new))
            if new:
                self._added.setdefault(element, []).append(new)
            return []
        # Named by its event: unique on the page also when the reader has connected again.
        element = f"text-{event.id}"
        if message_id:
            self._texts[message_id] = (element, len(text))
        self._new.add(element)
        self._added[element] = [text]
        place = inside + (node or self._nodes.get(message_id, ""))
        body = f'<span class="flow" id="{element}" aria-live="off">'
        head = self._head(event, name.partition("/")[0], place)
        # Braces in what was sent are not places to fill in.
        return [(f"{head}{body}".replace("{", "{{").replace("}", "}}") + "{}</span></li>", element)]

    def _line(self, event: Event, name: str, node: str, text: str, bad: bool = False) -> str:
        return f'{self._head(event, name, node, bad)}<span class="cut">{_one_line(escape(text))}</span></li>'

    def _head(self, event: Event, name: str, node: str, bad: bool = False) -> str:
        offset = (int(event.id.partition("-")[0]) - self.begin_ms) / 1000
        return (
            f"<li{' class=bad' if bad else ''}><time>{offset:+.2f}</time>"
            f'<span class="ev">{_one_line(escape(name))}</span><span class="nd cut">{_one_line(escape(node))}</span>'
        )


def _one_line(html: str) -> str:
    """Escaped text without line breaks of its own: a `data:` line of the stream must not end early."""
    return html.replace("\r", "&#13;").replace("\n", "&#10;")


def _written(name: str, data: Any) -> tuple[dict[str, Any], str, bool] | None:
    """The message of an event, the node that writes it, and whether it is only what is new."""
    if name == "messages" and isinstance(data, list) and data and isinstance(data[0], dict):
        metadata = data[1] if len(data) > 1 and isinstance(data[1], dict) else {}
        return data[0], str(metadata.get("langgraph_node", "")), str(data[0].get("type", "")).endswith("Chunk")
    whole = name in ("messages/partial", "messages/complete")
    if whole and isinstance(data, list) and data and isinstance(data[-1], dict):
        return data[-1], "", False
    return None


def message_text(message: dict[str, Any]) -> str:
    """What a message says: its text, or the tools it calls."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(
            part if isinstance(part, str) else str(part.get("text", "")) if isinstance(part, dict) else ""
            for part in content
        )
    if isinstance(content, str) and content:
        return content
    calls = message.get("tool_calls")
    names = [str(call.get("name", "")) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return f"calls {', '.join(filter(None, names))}" if any(names) else ""


def summary(name: str, data: Any) -> tuple[str, str]:
    """Where an event comes from and what it says, in one line."""
    if name == "updates" and isinstance(data, dict) and len(data) == 1:
        node, change = next(iter(data.items()))
        if node == "__interrupt__":
            return "", f"waits for a person: {_brief(change)}"
        return str(node), _brief(change)
    if name == "metadata" and isinstance(data, dict):
        attempt = data.get("attempt")
        return (f"attempt {attempt}" if attempt else ""), _brief({k: v for k, v in data.items() if k != "attempt"})
    if name == "error" and isinstance(data, dict):
        return "", f"{data.get('error', '')}: {data.get('message', '')}"
    if name in ("tasks", "debug") and isinstance(data, dict):
        payload = data["payload"] if isinstance(data.get("payload"), dict) else data
        rest = {key: payload[key] for key in ("result", "error", "interrupts", "input") if payload.get(key)}
        return str(payload.get("name", "")), _brief(rest)
    if name == "checkpoints" and isinstance(data, dict):
        metadata = data["metadata"] if isinstance(data.get("metadata"), dict) else {}
        following = data["next"] if isinstance(data.get("next"), list) else []
        told = f"step {metadata.get('step', '')}"
        return "", f"{told}, next {', '.join(map(str, following))}" if following else f"{told}, nothing follows"
    return "", _brief(data)


def _brief(value: Any, budget: int = MAX_SUMMARY) -> str:
    """`key: "text", other: {…}`: JSON as a person would say it, cut to the budget."""
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {_item(item)}" for key, item in list(value.items())[:12])
    elif isinstance(value, list):
        text = f"[{', '.join(_item(item) for item in value[:6])}{', …' if len(value) > 6 else ''}]"
    else:
        text = _item(value)
    return text if len(text) <= budget else text[: budget - 1] + "…"


def _item(value: Any, depth: int = 1) -> str:
    if isinstance(value, str):
        return f'"{value if len(value) <= 80 else value[:79] + "…"}"'
    if isinstance(value, dict):
        if isinstance(value.get("content"), (str, list)) and "type" in value:
            return f"{value['type']} {_item(message_text(value))}"
        if depth <= 0:
            return "{…}" if value else "{}"
        inner = ", ".join(f"{key}: {_item(item, depth - 1)}" for key, item in list(value.items())[:6])
        return "{" + inner + (", …" if len(value) > 6 else "") + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        if depth <= 0:
            return f"[{len(value)}]"
        return f"[{', '.join(_item(item, depth - 1) for item in value[-3:])}{', …' if len(value) > 3 else ''}]"
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Recorded exchanges sent again to a live server, and its answers compared with the recorded ones."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.contract.matching import Ids, differences, ids_shown
from tests.contract.open_streams import OpenStream

TRANSCRIPTS = Path(__file__).resolve().parent / "transcripts"
Json = dict[str, Any]


@dataclass
class Exchange:
    file: str
    index: int
    request: Json
    response: Json

    @property
    def title(self) -> str:
        return f"{self.file}[{self.index}] {self.request['method']} {self.request['path']}"


def load(file: str) -> list[Exchange]:
    recorded = json.loads((TRANSCRIPTS / f"{file}.json").read_text())
    return [
        Exchange(file, index, exchange["request"], exchange.get("response", {}))
        for index, exchange in enumerate(recorded["exchanges"])
    ]


def parse_sse(text: str) -> list[Json]:
    """The events and comments of a stream; anything but the contract's framing is an AssertionError.

    Lines end with CRLF; an event is `event:`, one line of `data:`, perhaps `id:`, in this order, and an empty line.
    """
    assert "\n" not in text.replace("\r\n", ""), "a line of the stream does not end with CRLF"
    assert not text or text.endswith("\r\n\r\n"), "the last event has no empty line after it"
    events = []
    for block in text.split("\r\n\r\n")[:-1]:
        lines = block.split("\r\n")
        if lines[0].startswith(":"):
            assert len(lines) == 1, f"a comment with more lines: {lines}"
            events.append({"comment": lines[0][1:].strip()})
            continue
        names = [line.partition(": ")[0] for line in lines]
        assert names in (["event", "data"], ["event", "data", "id"]), f"an event with the lines {names}"
        values = [line.partition(": ")[2] for line in lines]
        event: Json = {"event": values[0], "data": json.loads(values[1])}
        if len(values) == 3:
            event["id"] = values[2]
        events.append(event)
    return events


@dataclass
class Session:
    """One file on its way through a server: what set-up functions work with."""

    http: httpx.Client
    ids: Ids = field(default_factory=Ids)
    # Answers that are being sent already, by the index of their exchange.
    streams: dict[int, OpenStream] = field(default_factory=dict)

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(self.ids.fill(path), json=self.ids.fill(body))
        assert answer.status_code == 200, f"set-up: POST {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.http.get(self.ids.fill(path))
        return answer.json() if answer.status_code == 200 else None

    def thread(self, number: int, **body: Any) -> str:
        """Create the thread that the file calls `<uuid:number>`."""
        thread_id: str = self.post("/threads", body)["thread_id"]
        self.ids[f"uuid:{number}"] = thread_id
        return thread_id

    def run(self, thread: int, number: int, graph: str, **body: Any) -> None:
        """Start the run that the file calls `<uuid:number>`."""
        run = self.post(f"/threads/<uuid:{thread}>/runs", {"assistant_id": graph, **body})
        self.ids[f"uuid:{number}"] = run["run_id"]


def replay(exchange: Exchange, session: Session) -> Iterator[str]:
    """Send the request; each way in which the answer departs from the recorded one."""
    ids = session.ids
    ids.begin_exchange()
    request, recorded = exchange.request, exchange.response
    headers = ids.fill(request.get("headers", {}))
    body = {"json": ids.fill(request["json"])} if "json" in request else {"content": request.get("raw")}
    answer: httpx.Response | OpenStream
    if exchange.index in session.streams:
        told = sum("event" in event for event in recorded["sse"])
        answer = session.streams[exchange.index].heard(told)
    else:
        answer = session.http.request(request["method"], ids.fill(request["path"]), headers=headers, **body)
    if answer.status_code != recorded["status"]:
        yield f"status {answer.status_code} instead of {recorded['status']}: {answer.text[:500]}"
        return
    for name, value in recorded["headers"].items():
        yield from _header_differences(name, value, answer.headers.get(name), ids)
    if "json" in recorded:
        expected, actual = recorded["json"], json.loads(answer.content)
        if recorded["status"] == 422:
            # The trailer after the first line names a schema: optional.
            expected, actual = _first_line(expected), _first_line(actual)
        if part := PARTS.get((exchange.file, exchange.index)):
            expected, actual = part(expected), part(actual)
        yield from differences(expected, actual, ids)
    elif "text" in recorded:
        yield from differences(recorded["text"], answer.text, ids)
    elif "sse" in recorded:
        events = parse_sse(answer.text)
        yield from EVENTS.get((exchange.file, exchange.index), _event_differences)(recorded["sse"], events, ids)
    elif answer.content:
        yield f"a body where there was none: {answer.text[:200]}"


def _first_line(body: Any) -> Any:
    return {"detail": body["detail"].split("\n\nFailed validating")[0]} if isinstance(body, dict) else body


def _header_differences(name: str, expected: str, actual: str | None, ids: Ids) -> Iterator[str]:
    if name == "allow":
        # A resource may know more methods than the recorded server.
        missing = {method.strip() for method in expected.split(",")} - set((actual or "").replace(" ", "").split(","))
        if missing:
            yield f"header allow: {actual!r} does not name {missing}"
    elif name == "content-type" and "json" in expected:
        if (actual or "").split(";")[0] != expected:
            yield f"header content-type: {actual!r} instead of {expected!r}"
    elif actual is None or not ids.text_matches(expected, actual):
        yield f"header {name}: {actual!r} instead of {ids_shown(expected, ids)!r}"


def _event_differences(expected: list[Json], events: list[Json], ids: Ids) -> Iterator[str]:
    actual = [event for event in events if "comment" not in event]
    names = [event["event"].split("|")[0] for event in actual]
    recorded = [event["event"].split("|")[0] for event in expected]
    if names != recorded:
        yield f"events {names} instead of {recorded}"
        return
    for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
        yield from differences(left, right, ids, f"event {index}")


def _live_tail(expected: list[Json], events: list[Json], ids: Ids) -> Iterator[str]:
    """A stream joined in flight: live events of the kinds that were recorded, and the recorded end."""
    kinds = {event["event"] for event in expected}
    for event in events:
        if event.get("event") not in kinds:
            yield f"unexpected event {event}"
    if not events or events[-1] != expected[-1]:
        yield f"ends with {events[-1:]} instead of {expected[-1]}"


def _with_heartbeats(expected: list[Json], events: list[Json], ids: Ids) -> Iterator[str]:
    if {"comment": "heartbeat"} not in events[1:-1]:
        yield f"no heartbeat in {events}"
    silent = [event for event in expected if "comment" not in event]
    yield from _event_differences(silent, events, ids)


def _shape_of_storage(body: Json) -> Json:
    """What is stored differs, and with it the bytes and the versions of channels that hold no value."""
    values = body["channel_values"]
    return {
        "thread_id": body["thread_id"],
        "checkpoints": body["checkpoints"]["count"],
        "total_bytes": body["total_bytes"] == sum(part["bytes"] for part in body.values() if isinstance(part, dict)),
        "channels": sorted(values["by_channel"]),
        "channel": sorted({key for channel in values["by_channel"].values() for key in channel}),
        "parts": [sorted(body[part]) for part in ("checkpoints", "channel_values", "pending_writes")],
    }


def _kind_by_kind(expected: list[Json], events: list[Json], ids: Ids) -> Iterator[str]:
    """A stream of several things: the recorded server told each in order, but not one after the other."""
    left, right = ([e for e in told if "event" in e] for told in (expected, events))
    yield from _event_differences(
        sorted(left, key=lambda event: str(event["event"])), sorted(right, key=lambda event: str(event["event"])), ids
    )


# Answers that name the product or count what happened before: the part that is contract.
PARTS: dict[tuple[str, int], Callable[[Any], Any]] = {
    ("01_system", 0): lambda body: {"ok": body["ok"]},
    ("01_system", 1): lambda body: [
        sorted({"version", "langgraph_py_version", "flags", "host"} & body.keys()),
        body["flags"]["assistants"],
    ],
    ("01_system", 2): lambda body: [
        sorted({"n_pending", "n_running"} & body["queue"].keys()),
        sorted({"max", "active", "available"} & body["workers"].keys()),
        "api" in body,
    ],
    ("09_state_history", 15): _shape_of_storage,
}
EVENTS = {
    ("17_stream_resume", 6): _live_tail,
    **{("18_thread_stream", index): _kind_by_kind for index in (2, 3, 4, 5)},
    ("30_heartbeat", 0): _with_heartbeats,
}

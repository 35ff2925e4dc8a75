"""What clients of a server see of every row of the table, in every place where a value can be seen."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.runs.webhooks.receiving import Receiver

AT_ONCE = 8
MODES = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]

# Where the value is seen of a run that stops at an interrupt, and what asks for it.
PLACES = (
    "stream values", "stream updates", "stream custom", "stream tasks", "stream checkpoints", "stream debug",
    "stream interrupt", "wait", "wait interrupt", "join", "join interrupt", "webhook",
    "state", "state task", "state interrupt", "history", "thread", "thread interrupt", "search", "store",
)  # fmt: skip
# Of a value that no checkpoint holds, only what is streamed before.
PLACES_OF_REFUSED = ("stream updates", "stream custom")


@dataclass
class Seen:
    """What was seen of one row."""

    shown: dict[str, Any] = field(default_factory=dict)
    # What nodes found, and what they should have found.
    resumed: list[str] | None = None
    again: list[str] | None = None
    error: dict[str, str] | None = None


async def observe(url: str, names: list[str], receiver: Receiver) -> dict[str, Seen]:
    """Run every row: up to its interrupt, once more from the start, and with an answer."""
    slots = asyncio.Semaphore(AT_ONCE)
    hooks: dict[str, str] = {}

    async def one(name: str) -> Seen:
        async with slots:
            return await _observe_row(http, name, receiver.url, hooks)

    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        seen = dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
    for received in await asyncio.to_thread(receiver.wait, len(hooks)):
        values = received.body["values"] or {}
        if "value" in values:
            seen[hooks[received.body["run_id"]]].shown["webhook"] = values["value"]
    return seen


async def _observe_row(http: httpx.AsyncClient, name: str, webhook: str, hooks: dict[str, str]) -> Seen:
    seen = Seen()
    thread_id = (await http.post("/threads", json={})).json()["thread_id"]
    thread = f"/threads/{thread_id}"
    run: dict[str, Any] = {"assistant_id": "values", "input": {"row": name}}
    streamed = await http.post(f"{thread}/runs/stream", json={**run, "stream_mode": MODES, "webhook": webhook})
    run_id = streamed.headers["Content-Location"].rpartition("/")[2]
    hooks[run_id] = name
    for event, data in _events(streamed.text):
        _note_event(seen, event, data)
    if seen.error is not None:
        return seen
    await _note_reads(http, seen, thread_id, run_id, name)
    waited = (await http.post(f"{thread}/runs/wait", json=run)).json()
    seen.shown["wait"], seen.shown["wait interrupt"] = waited["value"], waited["__interrupt__"][0]["value"]
    seen.again = waited["again"]
    answered = await http.post(f"{thread}/runs/wait", json={"assistant_id": "values", "command": {"resume": True}})
    seen.resumed = answered.json().get("resumed")
    return seen


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\r\n\r\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\r\n") if ": " in line)
        if "event" in lines:
            found.append((lines["event"], orjson.loads(lines["data"])))
    return found


def _note_event(seen: Seen, event: str, data: Any) -> None:
    """Remember what an event shows of the value. The last event of a kind counts."""
    if event == "error":
        seen.error = data
    elif event == "custom":
        seen.shown["stream custom"] = data
    elif event == "values" and "value" in data:
        seen.shown["stream values"] = data["value"]
    elif event == "updates" and "produce" in data:
        seen.shown["stream updates"] = data["produce"]["value"]
    elif event == "updates" and "__interrupt__" in data:
        seen.shown["stream interrupt"] = data["__interrupt__"][0]["value"]
    elif event == "tasks" and data["name"] == "produce" and "result" in data:
        seen.shown["stream tasks"] = data["result"]["value"]
    elif event == "checkpoints" and "value" in data["values"]:
        seen.shown["stream checkpoints"] = data["values"]["value"]
    elif event == "debug" and data["type"] == "checkpoint" and "value" in data["payload"]["values"]:
        seen.shown["stream debug"] = data["payload"]["values"]["value"]


async def _note_reads(http: httpx.AsyncClient, seen: Seen, thread_id: str, run_id: str, name: str) -> None:
    """Look at what is left of the run everywhere."""
    thread = f"/threads/{thread_id}"
    joined = (await http.get(f"{thread}/runs/{run_id}/join")).json()
    state = (await http.get(f"{thread}/state")).json()
    history = (await http.get(f"{thread}/history", params={"limit": 10})).json()
    row = (await http.get(thread)).json()
    found = (await http.post("/threads/search", json={"ids": [thread_id]})).json()
    item = (await http.get("/store/items", params={"namespace": "values", "key": name})).json()
    [asked] = next(iter(row["interrupts"].values()))
    seen.shown |= {
        "join": joined["value"],
        "join interrupt": joined["__interrupt__"][0]["value"],
        "state": state["values"]["value"],
        "state interrupt": state["interrupts"][0]["value"],
        "state task": _result(history),
        "history": history[0]["values"]["value"],
        "thread": row["values"]["value"],
        "thread interrupt": asked["value"],
        "search": found[0]["values"]["value"],
        "store": item["value"]["value"],
    }


def _result(history: list[dict[str, Any]]) -> Any:
    """What the history says that the node has returned."""
    [task] = [task for state in history for task in state["tasks"] if task["name"] == "produce"]
    return task["result"]["value"]

"""What clients of a server see of every row of the table, in every place where a value can be seen.

A run has many rows, each in a channel of its own: a table of one run per row costs a minute. Rows whose run failed are
tried again one by one, so that a value that ends a run does not hide the others.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.webhooks.receiving import Receiver

SLOTS = 16
AT_ONCE = 4
MODES = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]

# Where a value is seen of a run that stops at an interrupt.
PLACES = (
    "stream values", "stream updates", "stream custom", "stream tasks", "stream checkpoints", "stream debug",
    "stream interrupt", "wait", "wait interrupt", "join", "join interrupt", "webhook",
    "state", "state task", "state interrupt", "history", "thread", "thread interrupt", "search", "store",
)  # fmt: skip
# The places that show what a checkpoint holds.
PLACES_LATER = (
    "wait interrupt", "join", "join interrupt", "webhook", "state", "state task", "state interrupt", "history",
    "thread", "thread interrupt", "search",
)  # fmt: skip
# Of a value that no checkpoint holds, only what is streamed before.
PLACES_OF_REFUSED = ("stream updates", "stream custom")

Answer = dict[str, Any]


@dataclass
class Seen:
    """What was seen of one row."""

    shown: dict[str, Any] = field(default_factory=dict)
    # What nodes found, and what they should have found.
    resumed: list[str] | None = None
    again: list[str] | None = None
    error: dict[str, str] | None = None
    # Whether states were read a second time with the same bytes.
    same_again: bool = True


class Observer:
    """Runs rows on a server and remembers what it shows of them."""

    def __init__(self, http: httpx.AsyncClient, receiver: Receiver) -> None:
        self.seen: dict[str, Seen] = {}
        self._http = http
        self._receiver = receiver
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._rows_of_runs: dict[str, list[str]] = {}

    async def observe(self, batches: list[list[str]]) -> None:
        """Run every batch: up to its interrupt, once more from the start, and with an answer."""
        # Nodes return every other batch in a command.
        await asyncio.gather(*(self._observe(rows, as_command=n % 2 == 1) for n, rows in enumerate(batches)))
        for received in await asyncio.to_thread(self._receiver.wait, len(self._rows_of_runs)):
            self._note("webhook", self._rows_of_runs[received.body["run_id"]], received.body["values"])

    async def _observe(self, rows: list[str], *, as_command: bool) -> None:
        async with self._slots:
            error = await self._run(rows, as_command=as_command)
        if error is not None and len(rows) > 1:
            await asyncio.gather(*(self._observe([row], as_command=as_command) for row in rows))

    async def _run(self, rows: list[str], *, as_command: bool) -> Answer | None:
        """Run the rows. Return the error of the run, or None."""
        for row in rows:
            self.seen[row] = Seen()
        http = self._http
        thread_id = _read(await http.post("/threads", json={}))["thread_id"]
        thread = f"/threads/{thread_id}"
        run: Answer = {"assistant_id": "values", "input": {"rows": rows, "as_command": as_command}}
        webhook = {"webhook": self._receiver.url}
        streamed = await http.post(f"{thread}/runs/stream", json={**run, **webhook, "stream_mode": MODES})
        run_id = streamed.headers["Content-Location"].rpartition("/")[2]
        self._rows_of_runs[run_id] = rows
        error = None
        for event, data in _events(streamed.text):
            if event == "error":
                error = data
            elif (found := _value_of(event, data)) is not None:
                self._note(found[0], rows, found[1])
        if error is None:
            await self._look(rows, thread_id, run_id)
            error = await self._continue(rows, thread_id, run)
        if error is not None:
            for row in rows:
                self.seen[row].error = error
        return error

    async def _continue(self, rows: list[str], thread_id: str, run: Answer) -> Answer | None:
        """Run the rows once more, and answer the interrupt. Return the error of the first run that fails, or None."""
        answers = []
        for body in (run, {"assistant_id": "values", "command": {"resume": True}}):
            answers.append(_read(await self._http.post(f"/threads/{thread_id}/runs/wait", json=body)))
            if "__error__" in answers[-1]:
                return dict(answers[-1]["__error__"])
        waited, answered = answers
        self._note("wait", rows, waited)
        self._note("wait interrupt", rows, waited["__interrupt__"][0]["value"])
        for slot, row in enumerate(rows):
            self.seen[row].again, self.seen[row].resumed = waited["again"][slot], answered["resumed"][slot]
        return None

    async def _look(self, rows: list[str], thread_id: str, run_id: str) -> None:
        """Look at what is left of the run everywhere."""

        async def get(path: str, **params: Any) -> Any:
            return _read(await self._http.get(path, params=params))

        thread = f"/threads/{thread_id}"
        joined, row = await get(f"{thread}/runs/{run_id}/join"), await get(thread)
        state, history = (
            await self._twice(f"{thread}/state", rows),
            await self._twice(f"{thread}/history?limit=10", rows),
        )
        [found] = _read(await self._http.post("/threads/search", json={"ids": [thread_id]}))
        item = await get("/store/items", namespace="values", key=rows[0])
        [[asked]] = row["interrupts"].values()
        [task] = [task for past in history for task in past["tasks"] if task["name"] == "produce"]
        for place, values in {
            "join": joined,
            "join interrupt": joined["__interrupt__"][0]["value"],
            "state": state["values"],
            "state interrupt": state["interrupts"][0]["value"],
            "state task": task["result"],
            "history": history[0]["values"],
            "thread": row["values"],
            "thread interrupt": asked["value"],
            "search": found["values"],
            "store": item["value"],
        }.items():
            self._note(place, rows, values)

    async def _twice(self, path: str, rows: list[str]) -> Any:
        """Read states, and again what the server has kept of them."""
        first, again = [await self._http.get(path) for _ in range(2)]
        for row in rows:
            self.seen[row].same_again &= first.content == again.content
        return _read(first)

    def _note(self, place: str, rows: list[str], values: Any) -> None:
        """Remember the rows' values, where the place has them. What is seen last counts."""
        for slot, row in enumerate(rows):
            if isinstance(values, dict) and f"slot{slot}" in values:
                self.seen[row].shown[place] = values[f"slot{slot}"]


def _read(response: httpx.Response) -> Any:
    """Read an answer as clients do: numbers beyond 64 bits as doubles, which PostgreSQL writes out in digits."""
    return orjson.loads(response.content)


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\r\n\r\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\r\n") if ": " in line)
        if "event" in lines:
            found.append((lines["event"], orjson.loads(lines["data"])))
    return found


def _value_of(event: str, data: Any) -> tuple[str, Any] | None:
    """Return the place of what an event shows of the values, and the values; None for other events."""
    if event in ("values", "custom"):
        return f"stream {event}", data
    if event == "updates":
        asked = data.get("__interrupt__")
        return ("stream interrupt", asked[0]["value"]) if asked else ("stream updates", data.get("produce"))
    if event == "tasks" and data["name"] == "produce" and "result" in data:
        return "stream tasks", data["result"]
    if event == "checkpoints":
        return "stream checkpoints", data["values"]
    if event == "debug" and data["type"] == "checkpoint":
        return "stream debug", data["payload"]["values"]
    return None


async def observe(url: str, receiver: Receiver, kept: list[str], refused: list[str]) -> dict[str, Seen]:
    """Return what is seen of the rows that a checkpoint holds, and of those that it refuses."""
    batches = [kept[start : start + SLOTS] for start in range(0, len(kept), SLOTS)]
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        observer = Observer(http, receiver)
        await observer.observe(batches + [[name] for name in refused])
    return observer.seen

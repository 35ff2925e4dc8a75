"""What users do: each visit is one of them, from what they ask for to what they must have got.

A visit leaves nothing behind but threads in the working set. The set has a bound: the visit that adds one too many
deletes the oldest. So an honest server's memory is flat.
"""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.client import BadAnswer
from tests.benchmarks.rows import CUSTOM, HAIKU, MESSAGES

from .sink import Sink
from .site import Site

WEBHOOK_SECONDS = 30.0
ITEMS = 200


@dataclass
class World:
    """What visits share."""

    site: Site
    sink: Sink
    cookie: str
    # Threads that no visit uses at the moment, the oldest first, and how many may be kept.
    threads: deque[str] = field(default_factory=deque)
    kept: int = 100
    dice: random.Random = field(default_factory=lambda: random.Random(12))

    async def new_thread(self) -> str:
        thread = await self.site.ask("POST", "/threads", {"metadata": {"user": f"user-{self.dice.randrange(20)}"}})
        return str(thread["thread_id"])

    async def some_thread(self) -> str:
        """Take any thread out of the working set, for oneself until it is kept again; a new one if there is none."""
        if not self.threads:
            return await self.new_thread()
        place = self.dice.randrange(len(self.threads))
        thread = self.threads[place]
        del self.threads[place]
        return thread

    async def keep(self, thread: str) -> None:
        """Put the thread into the working set, and delete the oldest ones that are too many."""
        self.threads.append(thread)
        while len(self.threads) > self.kept:
            await self.forget(self.threads.popleft())

    async def forget(self, thread: str) -> None:
        """Delete the thread; it must be gone then."""
        await self.site.ask("DELETE", f"/threads/{thread}", expect=(204,))
        await self.site.ask("GET", f"/threads/{thread}", expect=(404,))

    async def wait(self, graph: str, value: Any, thread: str | None = None, **more: Any) -> Any:
        path = f"/threads/{thread}/runs/wait" if thread else "/runs/wait"
        return await self.site.ask("POST", path, {"assistant_id": graph, "input": value, **more})

    async def begin(self, graph: str, value: Any, thread: str, **more: Any) -> str:
        """Start a run in the background and return its id."""
        body = {"assistant_id": graph, "input": value, **more}
        return str((await self.site.ask("POST", f"/threads/{thread}/runs", body))["run_id"])


Visit = Callable[[World], Awaitable[None]]


def require(true: bool, what: str) -> None:
    if not true:
        raise BadAnswer(what)


# --- Runs that are waited for -------------------------------------------------------------------------
async def stateless_run(world: World) -> None:
    found = await world.wait("one_node", {"value": 1})
    require(found["value"] == 2, f"1 + 1 gave {found}")


async def run_on_new_thread(world: World) -> None:
    thread = await world.new_thread()
    found = await world.wait("one_node", {"value": 4}, thread)
    require(found["value"] == 5, f"4 + 1 gave {found}")
    state = await world.site.ask("GET", f"/threads/{thread}/state")
    require(state["values"] == {"value": 5}, f"the state is {state['values']} after a run that gave 5")
    await world.keep(thread)


async def run_on_old_thread(world: World) -> None:
    """A conversation goes on: three more messages."""
    thread = await world.some_thread()
    state = await world.site.ask("GET", f"/threads/{thread}/state")
    had = len((state["values"] or {}).get("messages", ()))
    # A thread that has grown enough gives way to a new one.
    if had > 30:
        await world.forget(thread)
        thread, had = await world.new_thread(), 0
    found = await world.wait("growing", {"messages": [], "steps": had + 3}, thread)
    require(len(found["messages"]) == had + 3, f"{had} messages and 3 more are {len(found['messages'])}")
    await world.keep(thread)


async def late_cancel(world: World) -> None:
    """A run is over when somebody wants to cancel it."""
    thread = await world.new_thread()
    run = await world.begin("one_node", {"value": 1}, thread)
    await world.site.ask("GET", f"/threads/{thread}/runs/{run}/join")
    await world.site.ask("POST", f"/threads/{thread}/runs/{run}/cancel", expect=(404,))
    await world.keep(thread)


async def cancelled_run(world: World) -> None:
    thread = await world.new_thread()
    run = await world.begin("sleep_async", {"seconds": 60}, thread)
    await asyncio.sleep(0.2)
    await world.site.ask("POST", f"/threads/{thread}/runs/{run}/cancel?wait=true")
    found = await world.site.ask("GET", f"/threads/{thread}/runs/{run}")
    require(found["status"] == "interrupted", f"a cancelled run is {found['status']}")
    await world.forget(thread)


async def answered_interrupt(world: World) -> None:
    thread = await world.new_thread()
    asked = await world.wait("ask", {"answer": ""}, thread)
    require(len(asked["__interrupt__"]) == 1, f"a graph that asks gave {asked}")
    waiting = await world.site.ask("GET", f"/threads/{thread}")
    require(waiting["status"] == "interrupted", f"a thread that waits for a person is {waiting['status']}")
    found = await world.wait("ask", None, thread, command={"resume": "42"})
    require(found["answer"] == "42", f"the answer 42 gave {found}")
    await world.forget(thread)


# --- Streams ------------------------------------------------------------------------------------------
def chunks(tokens: int) -> int:
    """Return how many events a model of so many tokens makes: LangChain ends it with an empty chunk."""
    return tokens + 1


def token_body(count: int, **more: Any) -> dict[str, Any]:
    body = {"assistant_id": "tokens", "input": {**HAIKU, "tokens": count}, "stream_mode": "messages-tuple"}
    return {**body, **more}


async def token_stream(world: World) -> None:
    await world.site.stream("POST", "/runs/stream", token_body(200), mark=MESSAGES, events=chunks(200))


async def token_stream_on_thread(world: World) -> None:
    thread = await world.new_thread()
    await world.site.stream(
        "POST", f"/threads/{thread}/runs/stream", token_body(100), mark=MESSAGES, events=chunks(100)
    )
    await world.keep(thread)


async def custom_stream(world: World) -> None:
    body = {"assistant_id": "custom", "input": {"tokens": 300}, "stream_mode": "custom"}
    await world.site.stream("POST", "/runs/stream", body, mark=CUSTOM, events=300)


async def late_reader(world: World) -> None:
    """A resumable stream is joined after its run has ended, from its beginning, and twice."""
    thread = await world.new_thread()
    body = token_body(150, stream_resumable=True)
    run = (await world.site.ask("POST", f"/threads/{thread}/runs", body))["run_id"]
    await world.site.ask("GET", f"/threads/{thread}/runs/{run}/join")
    path, beginning = f"/threads/{thread}/runs/{run}/stream", [("last-event-id", "-1")]
    for _ in range(2):
        await world.site.stream("GET", path, mark=MESSAGES, events=chunks(150), headers=beginning)
    await world.keep(thread)


async def slow_reader(world: World) -> None:
    """Someone on a bad line: the run has ended long before its last token is read."""
    await world.site.slow_stream("/runs/stream", token_body(1500), mark=MESSAGES, events=chunks(1500), pause=0.1)


# --- Reading ------------------------------------------------------------------------------------------
async def read_state(world: World) -> None:
    thread = await world.some_thread()
    for _ in range(3):
        await world.site.ask("GET", f"/threads/{thread}/state")
    await world.site.ask("POST", f"/threads/{thread}/history", {"limit": 20})
    await world.site.ask("GET", f"/threads/{thread}/runs")
    await world.keep(thread)


async def change_state(world: World) -> None:
    """What is written by hand is read at once."""
    thread = await world.new_thread()
    await world.wait("one_node", {"value": 1}, thread)
    for value in range(3):
        await world.site.ask("POST", f"/threads/{thread}/state", {"values": {"value": value}})
        state = await world.site.ask("GET", f"/threads/{thread}/state")
        require(state["values"] == {"value": value}, f"{value} was written and {state['values']} read")
    await world.forget(thread)


async def search_threads(world: World) -> None:
    user = f"user-{world.dice.randrange(20)}"
    found = await world.site.ask("POST", "/threads/search", {"metadata": {"user": user}, "limit": 10})
    require(all(thread["metadata"]["user"] == user for thread in found), f"a search for {user} found others")
    await world.site.ask("POST", "/assistants/search", {"limit": 10})


async def store_items(world: World) -> None:
    key, value = f"item-{world.dice.randrange(ITEMS)}", {"kind": "note", "text": uuid.uuid4().hex * 10}
    namespace = ["soak", f"person-{world.dice.randrange(5)}"]
    body = {"namespace": namespace, "key": key, "value": value}
    await world.site.ask("PUT", "/store/items", body, expect=(200, 204))
    query = {"namespace_prefix": namespace, "filter": {"kind": "note"}, "limit": 10}
    found = await world.site.ask("POST", "/store/items/search", query)
    require(bool(found["items"]), "a search in the store did not find what was put")
    await world.site.ask("GET", f"/store/items?namespace={'.'.join(namespace)}&key={key}")


async def dashboard(world: World) -> None:
    thread = await world.some_thread()
    pages = ["", "threads", f"threads/{thread}", "runs", "crons", "store", "assistants", "operations/webhooks"]
    for name in world.dice.sample(pages, 3):
        page = await world.site.page(f"/dashboard/{name}", world.cookie)
        require(b"</html>" in page, f"/dashboard/{name} is not a whole page")
    await world.keep(thread)


# --- What the server does by itself -------------------------------------------------------------------
async def webhook(world: World) -> None:
    path, thread = f"/run-{uuid.uuid4().hex}", await world.new_thread()
    await world.wait("one_node", {"value": 1}, thread, webhook=world.sink.url + path)
    await world.sink.arrived(path, WEBHOOK_SECONDS)
    del world.sink.received[path]
    await world.forget(thread)


async def cron(world: World) -> None:
    """A cron that is due each second makes a run, whose webhook tells of it; then the cron is deleted."""
    path = f"/cron-{uuid.uuid4().hex}"
    body = {"assistant_id": "one_node", "input": {"value": 1}, "schedule": "* * * * * *"}
    made = await world.site.ask("POST", "/runs/crons", {**body, "webhook": world.sink.url + path})
    try:
        await world.sink.arrived(path, WEBHOOK_SECONDS)
        del world.sink.received[path]
    finally:
        # Else it would make a run each second until the end of the soak.
        await world.site.ask("DELETE", f"/runs/crons/{made['cron_id']}", expect=(200, 204))


# How many of a hundred visits are of which kind.
MIX: dict[Visit, float] = {
    stateless_run: 15,
    run_on_new_thread: 12,
    run_on_old_thread: 12,
    read_state: 12,
    token_stream: 8,
    token_stream_on_thread: 6,
    search_threads: 6,
    store_items: 6,
    custom_stream: 4,
    late_reader: 4,
    answered_interrupt: 3,
    cancelled_run: 3,
    change_state: 3,
    webhook: 2,
    dashboard: 2,
    late_cancel: 1,
    slow_reader: 0.5,
    cron: 0.5,
}

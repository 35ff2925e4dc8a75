"""A state that was read is kept, and shown again only while it would be read the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.conf import settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6

from platform_site.access.principal import Principal
from platform_site.core import graphs
from platform_site.core.checkpoints import NULL_TASK_ID, Checkpoints, checkpoints
from platform_site.core.config import load_config
from platform_site.core.database import IS_POSTGRES, in_db
from platform_site.core.graphs import GraphRegistry
from platform_site.core.loops import state_loop
from platform_site.core.sqlite_checkpoints import SqliteCheckpoints
from runs.models import Run
from tests.api_client import ApiClient
from tests.core.projects import clean_imports, registry_of
from tests.runs.conftest import CONFIG, run_to_end
from tests.runs.graphs import log, script
from tests.threads.test_taken_ids import Take
from tests.threads.test_taken_ids import take as take
from threads import reading
from threads.models import Thread
from threads.services import delete_threads
from threads.state_cache import StateCache

# A request on a thread: method, the end of its path, its body.
Request = tuple[str, str, Any]
HEAD: Request = ("GET", "state", None)
HISTORY: Request = ("POST", "history", {"limit": 50})
REQUESTS: list[Request] = [
    HEAD,
    ("GET", "state?select=values&select=next", None),
    ("GET", "state?select=next&select=values", None),
    ("GET", "state?select=values.log&select=checkpoint", None),
    ("GET", "state?subgraphs=true", None),
    ("POST", "state/checkpoint", {"checkpoint": {}}),
    HISTORY,
    ("GET", "history?limit=2", None),
    ("POST", "history", {"limit": 3, "select": ["values", "tasks"]}),
    ("POST", "history", {"limit": 9, "metadata": {"step": 0}}),
]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> StateCache:
    """The cache of this process, empty."""
    return use_cache(monkeypatch, StateCache(10_000_000))


def use_cache(monkeypatch: pytest.MonkeyPatch, cache: StateCache) -> StateCache:
    monkeypatch.setattr(reading, "state_cache", lambda: cache)
    return cache


@pytest.fixture
async def run(principal: Principal) -> Run:
    return await run_to_end(principal, "log", input={"log": ["in"]})


@pytest.fixture
async def asks(principal: Principal) -> Run:
    """A run that waits for an answer."""
    return await run_to_end(principal, "ask_twice", input={"log": []})


class Reader:
    """Asks the same things with the cache of the test and without one."""

    def __init__(self, api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self._api = api
        self._monkeypatch = monkeypatch

    async def read(self, thread_id: UUID, request: Request = HEAD) -> tuple[int, bytes]:
        method, path, body = request
        answer = await self._api.request(method, f"/threads/{thread_id}/{path}", json=body)
        return answer.status_code, answer.content

    async def anew(self, thread_id: UUID, request: Request = HEAD) -> tuple[int, bytes]:
        """What a process answers that has nothing kept."""
        with self._monkeypatch.context() as patch:
            use_cache(patch, StateCache(0))
            return await self.read(thread_id, request)

    async def at(self, thread_id: UUID) -> list[Request]:
        """Requests for each state of the thread."""
        status, body = await self.anew(thread_id, ("POST", "history", {"limit": 50, "select": ["checkpoint_id"]}))
        assert status == 200, body
        ids = [state["checkpoint_id"] for state in orjson.loads(body)]
        return [("GET", f"state/{one}", None) for one in ids]

    async def shows_what_is_stored(self, thread_id: UUID) -> None:
        """Compare every answer, read once and again, with what a process answers that has nothing kept."""
        for request in [*REQUESTS, *await self.at(thread_id)]:
            expected = await self.anew(thread_id, request)
            assert await self.read(thread_id, request) == expected, request
            assert await self.read(thread_id, request) == expected, request


@pytest.fixture
def reader(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(api, monkeypatch)


@pytest.fixture
async def others() -> AsyncIterator[Checkpoints]:
    """What another process has of the same checkpoints."""
    if IS_POSTGRES:
        yield checkpoints()
        return
    opened = SqliteCheckpoints(settings.DATA_DIR / "checkpoints.sqlite3")
    yield opened
    await opened.close()


@dataclass
class Strange:
    """A class that is none of the project's."""

    text: str


async def on_top(store: Checkpoints, run: Run, **values: Any) -> RunnableConfig:
    """Store a checkpoint on the thread's newest one, with other values. Return its configuration."""
    saver = store.saver()
    head = await saver.aget_tuple({"configurable": {"thread_id": str(run.thread_id)}})
    assert head is not None
    made: Checkpoint = {
        **head.checkpoint,
        "id": str(uuid6()),
        "channel_values": {**head.checkpoint["channel_values"], **values},
        "channel_versions": {
            **head.checkpoint["channel_versions"],
            **{name: saver.get_next_version(None, None) for name in values},
        },
    }
    return await saver.aput(head.config, made, head.metadata, {name: made["channel_versions"][name] for name in values})


def refused(*_: Any) -> Any:
    raise AssertionError("states are read")


# --- What is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "graph", ["log", "ask_twice", "ask_both", "ask_below", "stops_before", "below_before", "chain"]
)
async def test_answers_are_the_same_from_the_first_time_on(principal: Principal, reader: Reader, graph: str) -> None:
    run = await run_to_end(principal, graph, input={"log": ["in", 2**70, 1.5, "\ud800", {"ä": None}]})
    await reader.shows_what_is_stored(run.thread_id)


async def test_what_is_kept_is_shown_without_the_graph(
    reader: Reader, run: Run, cache: StateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [HEAD, REQUESTS[1], HISTORY, *await reader.at(run.thread_id)]
    first = [await reader.read(run.thread_id, request) for request in requests]
    misses = cache.misses
    monkeypatch.setattr(reading, "state_loop", refused)

    assert [await reader.read(run.thread_id, request) for request in requests] == first
    assert cache.misses == misses


async def test_a_history_reads_only_what_is_new(
    principal: Principal, reader: Reader, run: Run, cache: StateCache
) -> None:
    await reader.read(run.thread_id, HISTORY)
    await run_to_end(principal, "log", run.thread_id, input={"log": ["more"]})
    hits, misses = cache.hits, cache.misses

    expected = await reader.anew(run.thread_id, HISTORY)

    assert await reader.read(run.thread_id, HISTORY) == expected
    # The head got no write by the next run: it is its parent.
    assert (cache.hits - hits, cache.misses - misses) == (4, 4)


async def test_a_history_of_several_pages_is_one(
    principal: Principal, reader: Reader, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_to_end(principal, "log", run.thread_id, input={"log": ["more"]})
    expected = await reader.anew(run.thread_id, HISTORY)
    for page in (3, 4, 1, 8, 2):
        monkeypatch.setattr(reading, "PAGE", page)
        assert await reader.read(run.thread_id, HISTORY) == expected
    for limit in range(1, 9):
        some: Request = ("POST", "history", {"limit": limit})
        assert await reader.read(run.thread_id, some) == await reader.anew(run.thread_id, some)


async def test_a_state_that_is_kept_in_the_middle_stays_in_its_place(reader: Reader, run: Run) -> None:
    expected = await reader.anew(run.thread_id, HISTORY)
    _, second, _, last = await reader.at(run.thread_id)
    for request in (second, last):
        await reader.read(run.thread_id, request)

    assert await reader.read(run.thread_id, HISTORY) == expected


async def test_a_full_answer_ends_where_it_ended(reader: Reader, run: Run, settings: Any) -> None:
    settings.MAX_ANSWER_BYTES = 1200
    expected = await reader.anew(run.thread_id, HISTORY)
    assert 0 < len(orjson.loads(expected[1])) < 4
    assert [await reader.read(run.thread_id, HISTORY) for _ in range(3)] == [expected] * 3


async def test_two_that_read_the_same_at_once_keep_it_once(reader: Reader, run: Run, cache: StateCache) -> None:
    answers = await asyncio.gather(*(reader.read(run.thread_id) for _ in range(8)))

    assert answers == [await reader.anew(run.thread_id)] * 8
    assert len(cache) == 1


async def test_what_a_factory_makes_reads_states_anew(principal: Principal, reader: Reader, cache: StateCache) -> None:
    made: list[Any] = []

    def make(config: Any) -> Any:
        made.append(config)
        return log

    with script("make", make):
        run = await run_to_end(principal, "made", input={"log": []}, config={"configurable": {"factory": "make"}})
        made.clear()
        for request in (HEAD, HEAD, HISTORY, HISTORY):
            assert (await reader.read(run.thread_id, request))[0] == 200
    assert (len(made), len(cache)) == (4, 0)


# --- What changes it -----------------------------------------------------------------------------


async def test_a_pending_write_of_another_process(reader: Reader, asks: Run, others: Checkpoints) -> None:
    await reader.shows_what_is_stored(asks.thread_id)
    before = await reader.read(asks.thread_id)
    saver = others.saver()
    head = await saver.aget_tuple({"configurable": {"thread_id": str(asks.thread_id)}})
    assert head is not None
    assert head.pending_writes

    await saver.aput_writes(head.config, [("__error__", "it broke")], head.pending_writes[0][0])

    assert await reader.read(asks.thread_id) != before
    await reader.shows_what_is_stored(asks.thread_id)


async def test_a_checkpoint_of_another_process(reader: Reader, run: Run, others: Checkpoints) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    before = await reader.read(run.thread_id)

    await on_top(others, run)

    assert await reader.read(run.thread_id) != before
    await reader.shows_what_is_stored(run.thread_id)


async def test_the_next_interrupt_and_the_end(principal: Principal, reader: Reader, asks: Run) -> None:
    seen = [await reader.read(asks.thread_id)]
    for answer in ("first", "second"):
        await reader.shows_what_is_stored(asks.thread_id)
        await run_to_end(principal, "ask_twice", asks.thread_id, command={"resume": answer})
        seen.append(await reader.read(asks.thread_id))

    await reader.shows_what_is_stored(asks.thread_id)
    assert len(set(seen)) == 3


async def test_one_of_two_interrupts_is_answered(principal: Principal, reader: Reader) -> None:
    run = await run_to_end(principal, "ask_both", input={"log": []})
    before = orjson.loads((await reader.read(run.thread_id))[1])
    await reader.shows_what_is_stored(run.thread_id)

    resume = {before["interrupts"][0]["id"]: "an answer"}
    await run_to_end(principal, "ask_both", run.thread_id, command={"resume": resume})

    after = orjson.loads((await reader.read(run.thread_id))[1])
    assert (len(before["interrupts"]), len(after["interrupts"])) == (2, 1)
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_failing_run(principal: Principal, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)

    def fail(state: Any, config: Any) -> Any:
        raise ValueError("it broke")

    with script("fail", fail):
        failed = await run_to_end(principal, "scripted", run.thread_id, input={"do": "fail"})
    assert failed.status == "error"
    assert b"it broke" in (await reader.read(run.thread_id))[1]
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_new_run(principal: Principal, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)

    await run_to_end(principal, "log", run.thread_id, input={"log": ["more"]})

    assert b"more" in (await reader.read(run.thread_id))[1]
    await reader.shows_what_is_stored(run.thread_id)


@pytest.mark.parametrize("place", ["head", "past"])
async def test_a_change_by_hand(api: ApiClient, reader: Reader, run: Run, place: str) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    ids = [path.removeprefix("state/") for _, path, _ in await reader.at(run.thread_id)]
    body = {"values": {"log": ["by hand"]}, "as_node": "one"}

    answer = await api.post(
        f"/threads/{run.thread_id}/state", json=body | ({"checkpoint_id": ids[2]} if place == "past" else {})
    )
    assert answer.status_code == 200, answer.text

    assert b"by hand" in (await reader.read(run.thread_id))[1]
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_rollback(principal: Principal, reader: Reader, asks: Run) -> None:
    await reader.shows_what_is_stored(asks.thread_id)
    before = await reader.read(asks.thread_id)
    second = await run_to_end(principal, "ask_twice", asks.thread_id, command={"resume": "first"})
    await reader.shows_what_is_stored(asks.thread_id)
    assert await reader.read(asks.thread_id) != before

    await checkpoints().delete_run(asks.thread_id, second.run_id)

    assert await reader.read(asks.thread_id) == before
    await reader.shows_what_is_stored(asks.thread_id)


async def test_a_run_that_is_deleted_from_the_middle(principal: Principal, reader: Reader, run: Run) -> None:
    middle = await run_to_end(principal, "log", run.thread_id, input={"log": ["middle"]})
    await run_to_end(principal, "log", run.thread_id, input={"log": ["last"]})
    await reader.shows_what_is_stored(run.thread_id)
    before = orjson.loads((await reader.read(run.thread_id, HISTORY))[1])

    await checkpoints().delete_run(run.thread_id, middle.run_id)

    after = orjson.loads((await reader.read(run.thread_id, HISTORY))[1])
    assert len(after) < len(before)
    await reader.shows_what_is_stored(run.thread_id)


async def test_pruning(api: ApiClient, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    past = (await reader.at(run.thread_id))[-1]

    await api.post("/threads/prune", json={"thread_ids": [str(run.thread_id)], "strategy": "keep_latest"})

    assert len(orjson.loads((await reader.read(run.thread_id, HISTORY))[1])) == 1
    gone = orjson.loads((await reader.read(run.thread_id, past))[1])
    assert (gone["values"], gone["created_at"]) == ({}, None)
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_copy_is_another_thread(api: ApiClient, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)

    copied = UUID((await api.post(f"/threads/{run.thread_id}/copy")).json()["thread_id"])

    state = orjson.loads((await reader.read(copied))[1])
    assert state["checkpoint"]["thread_id"] == state["metadata"]["thread_id"] == str(copied)
    await reader.shows_what_is_stored(copied)
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_deleted_thread_is_gone(api: ApiClient, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    requests = [*REQUESTS, *await reader.at(run.thread_id)]

    await api.delete(f"/threads/{run.thread_id}")

    assert {(await reader.read(run.thread_id, request))[0] for request in requests} == {404}


async def test_another_thread_under_its_id(principal: Principal, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    await in_db(delete_threads, [run.thread_id], workspace_id=principal.workspace_id)
    await run_to_end(principal, "log", run.thread_id, input={"log": ["other"]}, if_not_exists="create")

    assert b"other" in (await reader.read(run.thread_id))[1]
    await reader.shows_what_is_stored(run.thread_id)


async def test_another_workspaces_thread_under_its_id(reader: Reader, run: Run, take: Take) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    requests = [*REQUESTS, *await reader.at(run.thread_id)]

    await take()

    assert {(await reader.read(run.thread_id, request))[0] for request in requests} == {404}


async def test_another_graph_reads_it(api: ApiClient, reader: Reader, run: Run) -> None:
    await reader.shows_what_is_stored(run.thread_id)
    before = await reader.read(run.thread_id)

    answer = await api.patch(f"/threads/{run.thread_id}", json={"metadata": {"graph_id": "models"}})
    assert answer.status_code == 200

    assert await reader.read(run.thread_id) != before
    await reader.shows_what_is_stored(run.thread_id)


async def test_graphs_that_are_loaded_anew_read_it_anew(
    reader: Reader, run: Run, cache: StateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.read(run.thread_id)
    await reader.read(run.thread_id)
    assert (cache.hits, cache.misses) == (1, 1)
    loaded = GraphRegistry(load_config(CONFIG))
    loaded.load()
    monkeypatch.setattr(graphs, "_registry", loaded)

    await reader.read(run.thread_id)

    assert (cache.hits, cache.misses) == (1, 2)


# --- What changes while it is read ---------------------------------------------------------------


async def _of(change: Callable[[], Awaitable[Any]]) -> None:
    await change()


def between(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[Any]]) -> None:
    """Have something change after the fingerprints were taken and before the states are read, once."""
    changes = [change]

    class Late:
        async def run(self, read: Coroutine[Any, Any, Any]) -> Any:
            if changes:
                # Not as a part of the request that is under way.
                await asyncio.create_task(_of(changes.pop()), context=Context())
            return await state_loop().run(read)

    monkeypatch.setattr(reading, "state_loop", Late)


@pytest.mark.parametrize("request_", [HEAD, HISTORY], ids=["state", "history"])
async def test_a_write_before_the_read_is_kept_as_what_it_is(
    principal: Principal, reader: Reader, asks: Run, monkeypatch: pytest.MonkeyPatch, request_: Request
) -> None:
    first = await reader.anew(asks.thread_id, request_)
    second: list[Run] = []

    async def answer() -> None:
        second.append(await run_to_end(principal, "ask_twice", asks.thread_id, command={"resume": "first"}))

    between(monkeypatch, answer)
    changed = await reader.read(asks.thread_id, request_)
    assert changed != first
    assert await reader.anew(asks.thread_id, request_) == changed

    # The checkpoint is again as it was when its fingerprint was taken.
    await checkpoints().delete_run(asks.thread_id, second[0].run_id)

    assert await reader.read(asks.thread_id, request_) == first


async def test_new_states_before_the_read_leave_no_gap(
    principal: Principal, reader: Reader, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await reader.anew(run.thread_id, HISTORY)
    *_, last = await reader.at(run.thread_id)
    await reader.read(run.thread_id, last)
    between(monkeypatch, lambda: run_to_end(principal, "log", run.thread_id, input={"log": ["more"]}))

    found = await reader.read(run.thread_id, HISTORY)

    # The moment of the answer is the one of its first query, but the head has the write of the next run.
    assert [state["checkpoint_id"] for state in orjson.loads(found[1])] == [
        state["checkpoint_id"] for state in orjson.loads(expected[1])
    ]
    await reader.shows_what_is_stored(run.thread_id)


async def test_a_thread_that_is_deleted_before_the_read_leaves_nothing(
    reader: Reader, run: Run, take: Take, cache: StateCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(monkeypatch, take)

    assert (await reader.read(run.thread_id, HISTORY))[0] == 404
    assert len(cache) == 0


# --- What is not kept ----------------------------------------------------------------------------


async def test_a_state_that_its_graph_refuses(reader: Reader, run: Run, cache: StateCache) -> None:
    place = await on_top(checkpoints(), run)
    # What came from outside is applied when the state is read, and no list.
    await checkpoints().saver().aput_writes(place, [("log", 5)], NULL_TASK_ID)

    assert (await reader.read(run.thread_id, HISTORY))[0] == 400
    requests: list[Request] = [HEAD, HEAD, HISTORY, ("POST", "state/checkpoint", {"checkpoint": {}})]
    for request in requests:
        assert await reader.read(run.thread_id, request) == await reader.anew(run.thread_id, request)
    assert len(cache) == 0


VALIDATES = """
from pydantic import BaseModel
from langgraph.graph import START, StateGraph

class State(BaseModel):
    n: int

builder = StateGraph(State).add_node("add", lambda state: {"n": state.n + 1}).add_edge(START, "add")
graph = builder.compile(interrupt_before=["add"])
"""


@pytest.fixture
async def mended(principal: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """A run on a thread whose last state but one is refused by its graph."""
    with clean_imports(tmp_path):
        registry = registry_of(tmp_path, {"agent.py": VALIDATES})
        monkeypatch.setattr(graphs, "_registry", registry)
        row = await in_db(
            lambda: Thread.objects.create(workspace_id=principal.workspace_id, metadata={"graph_id": "agent"})
        )
        run = Run(thread_id=row.thread_id)
        options: Any = {"checkpointer": checkpoints().saver(), "store": None, "access": "run"}
        async with registry.open("agent", {}, **options) as graph:
            await graph.ainvoke({"n": 1}, {"configurable": {"thread_id": str(row.thread_id)}})
        await on_top(checkpoints(), run, n="no number")
        await on_top(checkpoints(), run, n=3)
        yield run


async def test_the_older_states_once_the_graph_has_refused_one(reader: Reader, mended: Run, cache: StateCache) -> None:
    expected = await reader.anew(mended.thread_id, HISTORY)
    assert expected[0] == 200
    assert len(orjson.loads(expected[1])) == 4

    assert [await reader.read(mended.thread_id, HISTORY) for _ in range(3)] == [expected] * 3
    assert len(cache) == 1
    _, second, third, _ = await reader.at(mended.thread_id)
    assert (await reader.read(mended.thread_id, second))[0] == 400
    # Kept before the history comes to the state that is refused.
    await reader.read(mended.thread_id, third)
    assert [await reader.read(mended.thread_id, HISTORY) for _ in range(2)] == [expected] * 2


async def test_what_could_not_be_rebuilt(reader: Reader, run: Run, cache: StateCache) -> None:
    await on_top(checkpoints(), run, log=[Strange("something")])

    assert b"something" in (await reader.read(run.thread_id))[1]
    await reader.shows_what_is_stored(run.thread_id)
    # The states before it were rebuilt whole, one by one.
    assert len(cache) == 4

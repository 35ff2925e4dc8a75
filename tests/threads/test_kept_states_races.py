"""What is kept of a state that changes while it is read, or that another read would show in another way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import Context
from pathlib import Path
from typing import Any

import orjson
import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.interface import NULL_TASK_ID
from platform_site.core.database.access import in_db
from platform_site.core.graphs import registry as graphs
from platform_site.core.loops import state_loop
from runs.models import Run
from tests.core.projects import clean_imports, registry_of
from tests.runs.conftest import run_to_end
from tests.threads.state_reader import HEAD, HISTORY, Reader, Request, Strange, on_top
from tests.threads.state_reader import asks as asks
from tests.threads.state_reader import cache as cache
from tests.threads.state_reader import others as others
from tests.threads.state_reader import reader as reader
from tests.threads.state_reader import run as run
from tests.threads.test_taken_ids import Take
from tests.threads.test_taken_ids import take as take
from threads import reading
from threads.models import Thread
from threads.state_cache import StateCache

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

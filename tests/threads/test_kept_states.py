"""A state that was read is kept, and shown again only while it would be read the same."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from platform_site.access.principal import Principal
from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.interface import Checkpoints
from platform_site.core.config import load_config
from platform_site.core.database.access import in_db
from platform_site.core.graphs import registry as graphs
from platform_site.core.graphs.registry import GraphRegistry
from runs.models import Run
from tests.api_client import ApiClient
from tests.runs.conftest import CONFIG, run_to_end
from tests.runs.graphs import log, script
from tests.threads.state_reader import HEAD, HISTORY, REQUESTS, Reader, Request, on_top
from tests.threads.state_reader import asks as asks
from tests.threads.state_reader import cache as cache
from tests.threads.state_reader import others as others
from tests.threads.state_reader import reader as reader
from tests.threads.state_reader import run as run
from tests.threads.test_taken_ids import Take
from tests.threads.test_taken_ids import take as take
from threads import reading
from threads.services import delete_threads
from threads.state_cache import StateCache


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

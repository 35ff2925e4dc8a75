"""The checkpoints of the configured database: the same behaviour on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.checkpoints.interface import NULL_TASK_ID, Checkpoints, adopted
from platform_site.core.checkpoints.memory import memory_saver
from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
from tests.core.checkpointing import Lease, ids, save, thread_config
from tests.postgres import postgres_server, postgres_url  # noqa: F401

RUNS_TABLE = "CREATE TABLE runs_run (run_id uuid PRIMARY KEY, lease_owner varchar(80) UNIQUE)"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpoints]:
    checkpoints: Checkpoints
    if request.param == "sqlite":
        checkpoints = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3")
    else:
        from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
        from platform_site.core.database.postgres_pool import LoopPools

        url = request.getfixturevalue("postgres_url")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(RUNS_TABLE)
        checkpoints = PostgresCheckpoints(LoopPools(url))
        checkpoints.url = url  # type: ignore[attr-defined]
    await checkpoints.setup()
    yield checkpoints
    await checkpoints.close()


def leased(checkpoints: Checkpoints) -> Lease:
    """A lease that the database knows of."""
    lease = Lease()
    if url := getattr(checkpoints, "url", None):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO runs_run VALUES (%s, %s)", (lease.run_id, lease.lease_owner))
    return lease


class Question(TypedDict):
    answer: str


def asking_graph(saver: Any) -> Any:
    def ask(state: Question) -> dict[str, str]:
        return {"answer": interrupt("what?")}

    builder = StateGraph(Question)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver)


async def count(checkpoints: Checkpoints, thread: UUID) -> int:
    """Checkpoints and pending writes of the thread together."""
    found = [item async for item in checkpoints.saver().alist({"configurable": {"thread_id": str(thread)}})]
    return len(found) + sum(len(item.pending_writes or ()) for item in found)


async def test_setting_up_again_changes_nothing(store: Checkpoints) -> None:
    thread = uuid4()
    saved = await save(store.saver(), thread_config(thread), colour="red")

    await store.setup()

    assert await store.head(thread) == saved["configurable"]["checkpoint_id"]


async def test_the_head_is_the_newest_checkpoint_of_the_root_graph(store: Checkpoints) -> None:
    saver, thread = store.saver(), uuid4()
    assert await store.head(thread) is None
    first = await save(saver, thread_config(thread), n=1)
    second = await save(saver, first, n=2)
    await save(saver, thread_config(thread, "child:1"), n=3)
    await save(saver, thread_config(uuid4()), n=4)

    assert await store.head(thread) == second["configurable"]["checkpoint_id"]


async def test_a_checkpoint_of_a_run_is_found_in_any_namespace_of_its_thread_only(store: Checkpoints) -> None:
    saver, thread, run = store.saver(), uuid4(), uuid4()
    await save(saver, thread_config(thread, "child:1"), run, n=1)

    assert await store.has_checkpoint_of_run(thread, run)
    assert not await store.has_checkpoint_of_run(thread, uuid4())
    assert not await store.has_checkpoint_of_run(uuid4(), run)


async def test_command_writes_are_the_writes_that_came_from_outside(store: Checkpoints) -> None:
    saver, thread = store.saver(), uuid4()
    graph, config = asking_graph(saver), thread_config(thread)
    await graph.ainvoke({"answer": ""}, config)
    head = await store.head(thread)
    before = await store.command_writes(thread)

    await graph.ainvoke(Command(resume="because"), config)
    after = await store.command_writes(thread)

    new = {key for key in after if after[key] != before.get(key)}
    assert new
    assert all(key.startswith(f"|{head}|") for key in new)
    assert f"|{head}|{NULL_TASK_ID}|-4|__resume__" in new
    assert all(key.endswith("|-4|__resume__") or f"|{NULL_TASK_ID}|" in key for key in after)


async def test_command_writes_show_that_a_value_was_replaced(store: Checkpoints) -> None:
    saver, thread = store.saver(), uuid4()
    saved = await save(saver, thread_config(thread), n=1)
    await saver.aput_writes(saved, [("__resume__", "yes")], NULL_TASK_ID)
    first = await store.command_writes(thread)

    await saver.aput_writes(saved, [("__resume__", "no")], NULL_TASK_ID)
    second = await store.command_writes(thread)

    assert first.keys() == second.keys()
    assert first != second


async def test_a_held_lease_lets_a_graph_write(store: Checkpoints) -> None:
    thread = uuid4()
    saver = store.saver_for_run(leased(store))

    await asking_graph(saver).ainvoke({"answer": ""}, thread_config(thread))

    assert await count(store, thread) >= 2


async def test_a_lost_lease_refuses_every_write(store: Checkpoints) -> None:
    lease, thread = leased(store), uuid4()
    saver = store.saver_for_run(lease)
    saved = await save(saver, thread_config(thread), lease.run_id, colour={"red": 1})
    lease.lost = True

    with pytest.raises(LeaseLost):
        await save(saver, saved, lease.run_id, colour={"blue": 1})
    with pytest.raises(LeaseLost):
        await saver.aput_writes(saved, [("colour", "blue")], "task")

    assert await count(store, thread) == 1


async def test_ended_writes_do_not_land_later(store: Checkpoints) -> None:
    lease, thread = leased(store), uuid4()
    first = await save(store.saver_for_run(lease), thread_config(thread), lease.run_id, colour="red")
    writes = [
        asyncio.ensure_future(save(store.saver_for_run(lease), first, lease.run_id, colour=str(number)))
        for number in range(20)
    ]
    while await count(store, thread) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    lease.lost = True

    lease.lease_owner = await store.end_writes(lease)

    landed = await count(store, thread)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert await count(store, thread) == landed == 1 + sum(not isinstance(out, LeaseLost) for out in outcomes)
    # The lease itself is still held: the end of the run is written under it.
    lease.lost = False
    await save(store.saver_for_run(lease), first, lease.run_id, colour="last")
    assert await count(store, thread) == landed + 1


async def test_deleting_threads_leaves_nothing_of_them_and_others_alone(store: Checkpoints) -> None:
    saver, gone, kept = store.saver(), [uuid4(), uuid4()], uuid4()
    for thread in (*gone, kept):
        for namespace in ("", "child:1"):
            saved = await save(saver, thread_config(thread, namespace), colour={"red": 1})
            await saver.aput_writes(saved, [("colour", "blue")], "task")

    await store.delete_threads(gone)

    assert [await count(store, thread) for thread in (*gone, kept)] == [0, 0, 4]


async def test_deleting_a_run_removes_its_checkpoints_in_all_namespaces_with_their_writes(store: Checkpoints) -> None:
    saver, thread, kept, gone = store.saver(), uuid4(), uuid4(), uuid4()
    root = await save(saver, thread_config(thread), kept, colour={"red": 1})
    for at in (root, thread_config(thread, "child:1")):
        saved = await save(saver, at, gone, colour={"blue": 1})
        await saver.aput_writes(saved, [("colour", "blue")], "task")

    await store.delete_run(thread, gone)

    assert await count(store, thread) == 1
    found = await saver.aget_tuple(thread_config(thread))
    assert found is not None
    assert found.config == root
    assert found.checkpoint["channel_values"] == {"colour": {"red": 1}}


async def test_deleting_a_run_removes_what_it_wrote_on_checkpoints_of_others(store: Checkpoints) -> None:
    thread, earlier, lease = uuid4(), uuid4(), leased(store)
    saver = store.saver()
    root = await save(saver, thread_config(thread), earlier, colour="red")
    await saver.aput_writes(root, [("__interrupt__", "what?")], "task")
    await store.saver_for_run(lease).aput_writes(root, [("__resume__", "because")], NULL_TASK_ID)

    await store.delete_run(thread, lease.run_id)

    found = await saver.aget_tuple(root)
    assert found is not None
    assert found.pending_writes == [("task", "__interrupt__", "what?")]


async def test_what_grew_on_a_deleted_run_hangs_on_its_nearest_surviving_ancestor(store: Checkpoints) -> None:
    saver, thread, kept, gone = store.saver(), uuid4(), uuid4(), uuid4()
    root = await save(saver, thread_config(thread), kept, n=1)
    middle = await save(saver, await save(saver, root, gone, n=2), gone, n=3)
    leaf = await save(saver, middle, kept, n=4)

    await store.delete_run(thread, gone)

    found = await saver.aget_tuple(leaf)
    assert found is not None
    assert found.parent_config == root
    assert len(await ids(saver, thread_config(thread))) == 2


async def test_two_loops_use_their_own_savers_at_the_same_time(store: Checkpoints) -> None:
    thread = uuid4()

    def elsewhere() -> None:
        async def main() -> None:
            at = thread_config(thread, "other")
            for number in range(20):
                at = await save(store.saver(), at, n=number)
            if hasattr(store, "url"):
                await store.close()

        asyncio.run(main())

    other = asyncio.ensure_future(asyncio.to_thread(elsewhere))
    at = thread_config(thread)
    for number in range(20):
        at = await save(store.saver(), at, n=number)
    await other

    assert await count(store, thread) == 40


async def test_a_memory_saver_shares_nothing(store: Checkpoints) -> None:
    thread = uuid4()
    await save(memory_saver(), thread_config(thread), n=1)

    assert await memory_saver().aget_tuple(thread_config(thread)) is None
    assert await store.head(thread) is None


def test_threads_are_deleted_from_a_database_thread(tmp_path: Path) -> None:
    checkpoints, thread = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3"), uuid4()

    async def before() -> None:
        await save(checkpoints.saver(), thread_config(thread), n=1)

    asyncio.run(before())
    checkpoints.delete_threads_sync([thread])

    assert asyncio.run(checkpoints.head(thread)) is None
    asyncio.run(checkpoints.close())


def test_an_orphan_without_surviving_ancestor_becomes_a_root() -> None:
    doomed: dict[tuple[str, str], str | None] = {("", "b"): "a", ("", "c"): "b", ("", "x"): "y", ("", "y"): "x"}

    assert adopted(doomed, "", "c") == "a"
    assert adopted({**doomed, ("", "a"): None}, "", "c") is None
    # A loop of parents, which re-put checkpoints can make.
    assert adopted(doomed, "", "x") is None


async def test_deleting_a_run_brings_back_the_writes_that_it_replaced(store: Checkpoints) -> None:
    thread, first, second, third = uuid4(), leased(store), leased(store), leased(store)
    root = await save(store.saver(), thread_config(thread), first.run_id, colour="red")
    for lease, question in ((first, "one?"), (second, "two?"), (third, "three?")):
        for text in ("draft", question):
            await store.saver_for_run(lease).aput_writes(root, [("__interrupt__", text)], "task")

    async def waiting() -> list[object]:
        found = await store.saver().aget_tuple(root)
        assert found is not None
        return [value for _, _, value in found.pending_writes or ()]

    await store.delete_run(thread, second.run_id)
    assert await waiting() == ["three?"]
    await store.delete_run(thread, third.run_id)
    assert await waiting() == ["one?"]
    await store.delete_run(thread, first.run_id)
    assert await count(store, thread) == 0


async def test_a_node_that_asked_twice_waits_with_its_first_question_again(store: Checkpoints) -> None:
    def ask(state: Question) -> dict[str, str]:
        return {"answer": interrupt("one?") + interrupt("two?")}

    thread, asked, answered = uuid4(), leased(store), leased(store)
    builder = StateGraph(Question).add_node("ask", ask).add_edge(START, "ask")

    async def run(lease: Lease, given: Any) -> None:
        graph: Any = builder.compile(checkpointer=store.saver_for_run(lease))
        await graph.ainvoke(given, {**thread_config(thread), "metadata": {"run_id": str(lease.run_id)}})

    async def questions() -> list[Any]:
        state = await builder.compile(checkpointer=store.saver()).aget_state(thread_config(thread))
        return [interrupt.value for interrupt in state.interrupts]

    await run(asked, {"answer": ""})
    await run(answered, Command(resume="a"))
    assert await questions() == ["two?"]

    await store.delete_run(thread, answered.run_id)

    assert await questions() == ["one?"]

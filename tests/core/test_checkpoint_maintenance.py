"""Copying, pruning and measuring threads, and deleting runs, of graphs with delta channels as of any others."""

import asyncio
import threading
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph

from platform_site.core.checkpoints.chains import latest_and_needed, needed_by, row_of
from platform_site.core.checkpoints.interface import NULL_TASK_ID, Checkpoints
from platform_site.core.checkpoints.postgres import maintenance as postgres_maintenance
from platform_site.core.checkpoints.sqlite import checkpoints as sqlite_checkpoints
from platform_site.core.checkpoints.sqlite import maintenance as sqlite_maintenance
from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
from tests.core.checkpointing import ids, save, thread_config
from tests.core.test_checkpoints import leased as leased
from tests.core.test_checkpoints import store as store
from tests.postgres import postgres_server as postgres_server
from tests.postgres import postgres_url as postgres_url


def joined(value: list[str], writes: list[list[str]]) -> list[str]:
    return value + [item for write in writes for item in write]


class Log(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, list, snapshot_frequency=4)]
    n: int


def growing_graph(store: Checkpoints) -> Any:
    async def grow(state: Log) -> dict[str, Any]:
        return {"log": [f"step {len(state['log'])}"], "n": len(state["log"])}

    builder = StateGraph(Log)
    builder.add_node("grow", grow)
    builder.add_edge(START, "grow")
    builder.add_edge("grow", END)
    return builder.compile(checkpointer=store.saver())


async def grow(store: Checkpoints, thread: UUID, *, times: int, durability: str = "sync") -> list[UUID]:
    """Run the graph so often; the ids of the runs."""
    runs = [uuid4() for _ in range(times)]
    for number, run in enumerate(runs):
        config = thread_config(thread, run_id=str(run)) | {"metadata": {"run_id": str(run)}}
        await growing_graph(store).ainvoke({"log": [f"input {number}"]}, config, durability=durability)
    return runs


async def log_of(store: Checkpoints, thread: UUID) -> list[str]:
    state = await growing_graph(store).aget_state({"configurable": {"thread_id": str(thread)}})
    log: list[str] = state.values["log"]
    return log


async def idle() -> bool:
    return False


@pytest.mark.parametrize("durability", ["sync", "exit"])
@pytest.mark.parametrize("times", [1, 2, 3, 5])
async def test_keep_latest_keeps_what_delta_channels_are_rebuilt_from(
    store: Checkpoints, times: int, durability: str
) -> None:
    thread = uuid4()
    await grow(store, thread, times=times, durability=durability)
    before = await log_of(store, thread)

    await store.keep_latest(thread, idle)

    assert await log_of(store, thread) == before
    # A snapshot at least every fourth update: only so much is kept.
    assert len(await ids(store.saver(), thread_config(thread))) <= 1 + 2 * 4
    await grow(store, thread, times=1)
    assert (await log_of(store, thread))[: len(before)] == before


async def test_keep_latest_leaves_one_checkpoint_of_an_ordinary_thread(store: Checkpoints) -> None:
    thread, saver = uuid4(), store.saver()
    root = await save(saver, thread_config(thread), colour={"red": 1})
    middle = await save(saver, root, colour={"blue": 1})
    await saver.aput_writes(middle, [("colour", "gone")], "task")
    head = await save(saver, middle, colour={"green": 1})
    await saver.aput_writes(head, [("colour", "kept")], "task")

    await store.keep_latest(thread, idle)

    assert await ids(saver, thread_config(thread)) == [head["configurable"]["checkpoint_id"]]
    found = await saver.aget_tuple(thread_config(thread))
    assert found is not None
    assert found.parent_config is None
    assert found.checkpoint["channel_values"] == {"colour": {"green": 1}}
    assert found.pending_writes == [("task", "colour", "kept")]
    measured = await store.storage(thread)
    assert (measured.checkpoints, measured.versions, measured.writes) == (1, {"colour": 1}, 1)


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_deleting_a_run_keeps_what_later_delta_channels_are_rebuilt_from(
    store: Checkpoints, durability: str
) -> None:
    thread = uuid4()
    runs = await grow(store, thread, times=3, durability=durability)
    before = await log_of(store, thread)

    await store.delete_run(thread, runs[1])

    assert await log_of(store, thread) == before


async def test_deleting_the_last_run_with_delta_channels_leaves_no_trace(store: Checkpoints) -> None:
    thread = uuid4()
    await grow(store, thread, times=2)
    before, held = await log_of(store, thread), await ids(store.saver(), thread_config(thread))
    (run,) = await grow(store, thread, times=1)

    await store.delete_run(thread, run)

    assert await log_of(store, thread) == before
    assert await ids(store.saver(), thread_config(thread)) == held


async def many(store: Checkpoints, thread: UUID, count: int = 7) -> list[str]:
    """Save so many checkpoints with writes, each on top of the last; their ids, newest first."""
    saver, at = store.saver(), thread_config(thread)
    for number in range(count):
        at = await save(saver, at, colour={"number": number})
        await saver.aput_writes(at, [("colour", "x")], "task")
    return await ids(saver, thread_config(thread))


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "PRUNED_TOGETHER", 2)
    monkeypatch.setattr(postgres_maintenance, "PRUNED_TOGETHER", 2)
    monkeypatch.setattr(sqlite_maintenance, "PORTION_ROWS", 2)


@pytest.mark.usefixtures("small_portions")
async def test_pruning_deletes_a_portion_in_each_transaction(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, portions = uuid4(), []
    newest = (await many(store, thread))[0]
    module: Any = sqlite_checkpoints if isinstance(store, SqliteCheckpoints) else postgres_maintenance
    name = "delete_places" if module is sqlite_checkpoints else "delete_checkpoints"
    delete = getattr(module, name)

    def spied(*arguments: Any, **named: Any) -> Any:
        portions.append(len(named.get("places") or arguments[-1]))
        return delete(*arguments, **named)

    monkeypatch.setattr(module, name, spied)
    await store.keep_latest(thread, idle)

    assert portions == [2, 2, 2]
    assert await ids(store.saver(), thread_config(thread)) == [newest]


@pytest.mark.usefixtures("small_portions")
async def test_pruning_that_was_cut_off_is_finished_by_the_next(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = uuid4()
    newest = (await many(store, thread))[0]
    module: Any = sqlite_checkpoints if isinstance(store, SqliteCheckpoints) else postgres_maintenance
    name = "delete_places" if module is sqlite_checkpoints else "delete_checkpoints"

    def crash(*_: Any, **__: Any) -> Any:
        raise RuntimeError("killed")

    with monkeypatch.context() as context:
        context.setattr(module, name, crash)
        with pytest.raises(RuntimeError):
            await store.keep_latest(thread, idle)
    # What is kept hangs on nothing that is about to go.
    found = await store.saver().aget_tuple(thread_config(thread))
    assert found is not None
    assert found.parent_config is None
    await store.keep_latest(thread, idle)
    assert await ids(store.saver(), thread_config(thread)) == [newest]


@pytest.mark.usefixtures("small_portions")
async def test_a_copy_is_made_in_portions_of_one_moment(store: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to the source while it is copied is not in the copy."""
    source, target = uuid4(), uuid4()
    before = await many(store, source)
    sizes: list[int] = []
    if isinstance(store, SqliteCheckpoints):
        insert = sqlite_maintenance._insert

        def spied(connection: Any, statement: str, rows: Any) -> None:
            # Another write comes in between.
            connection.execute("DELETE FROM writes WHERE thread_id = ?", (str(source),))
            sizes.append(len(rows))
            insert(connection, statement, rows)

        monkeypatch.setattr(sqlite_maintenance, "_insert", spied)
    await store.copy_thread(source, target)

    assert await ids(store.saver(), thread_config(target)) == before
    copied = await store.saver().aget_tuple(thread_config(target))
    assert copied is not None
    assert [write[1:] for write in copied.pending_writes or []] == [("colour", "x")]
    assert sizes in ([], [2, 2, 2, 1] * 2)


async def test_a_copy_has_everything_and_lives_on_its_own(store: Checkpoints) -> None:
    source, target, saver = uuid4(), uuid4(), store.saver()
    await grow(store, source, times=3)
    child = await save(saver, thread_config(source, "child"), colour={"red": 1})
    await saver.aput_writes(child, [("colour", "blue")], NULL_TASK_ID)

    await store.copy_thread(source, target)

    for namespace in ("", "child"):
        copied = await ids(saver, thread_config(target, namespace))
        assert copied == await ids(saver, thread_config(source, namespace))
    assert (await store.storage(target)).wire() == (await store.storage(source)).wire()
    await store.delete_threads([source])
    assert await log_of(store, target) == ["input 0", "step 1", "input 1", "step 3", "input 2", "step 5"]
    found = await saver.aget_tuple(thread_config(target, "child"))
    assert found is not None
    assert found.pending_writes == [(NULL_TASK_ID, "colour", "blue")]


async def test_storage_adds_up(store: Checkpoints) -> None:
    thread, saver = uuid4(), store.saver()
    root = await save(saver, thread_config(thread), text="a" * 1000, things=["b" * 2000])
    await save(saver, root, text="c" * 1000)
    await saver.aput_writes(root, [("text", "d" * 500)], "task")

    measured = await store.storage(thread)
    wire = measured.wire()

    assert measured.checkpoints == 2
    assert measured.versions == {"text": 2, "things": 1}
    assert measured.channel_bytes["text"] >= 2000
    assert measured.channel_bytes["things"] >= 2000
    assert measured.write_bytes >= 500
    assert wire["total_bytes"] == sum(
        wire[part]["bytes"] for part in ("checkpoints", "channel_values", "pending_writes")
    )


async def test_storage_of_an_empty_thread_is_nothing(store: Checkpoints) -> None:
    assert (await store.storage(uuid4())).wire() == {
        "total_bytes": 0,
        "checkpoints": {"count": 0, "bytes": 0},
        "channel_values": {"count": 0, "bytes": 0, "by_channel": {}},
        "pending_writes": {"count": 0, "bytes": 0},
    }


def test_a_call_of_a_subgraph_goes_with_the_checkpoint_that_called_it() -> None:
    rows = [
        row_of("", "1", None, {}),
        row_of("", "2", "1", {}),
        row_of("past:a", "3", None, {"parents": {"": "1"}}),
        row_of("waiting:b", "4", None, {"parents": {"": "2"}}),
        row_of("lasting", "5", None, {"parents": {"": "1"}}),
        row_of("early:c", "6", None, {"parents": {"": "7"}}),
    ]

    kept = latest_and_needed({row.place: row for row in rows}, lambda *_: ())

    assert kept == {("", "2"), ("waiting:b", "4"), ("lasting", "5"), ("early:c", "6")}


def test_a_busy_thread_keeps_what_its_newest_run_goes_back_to() -> None:
    rows = [
        *(row_of("", str(n), str(n - 1), {"run_id": "old"}) for n in (1, 2)),
        *(row_of("", str(n), str(n - 1), {"run_id": "new"}) for n in (3, 4)),
        row_of("below:a", "5", None, {"run_id": "new", "parents": {"": "4"}}),
    ]

    kept = latest_and_needed({row.place: row for row in rows}, lambda *_: (), is_busy=True)

    assert kept == {("", "2"), ("", "4"), ("below:a", "5")}


def test_ancestors_are_needed_as_far_as_the_nearest_value_of_each_channel() -> None:
    deltas = {"counters_since_delta_snapshot": {"log": [1, 1], "files": [2, 2]}}
    rows = [
        row_of("", "1", None, {}),
        *(row_of("", str(n), str(n - 1), {}) for n in (2, 3)),
        row_of("", "4", "3", deltas),
    ]
    stored = {"1": ["files"], "2": ["files"], "3": ["log"]}

    needed = needed_by([rows[3]], {row.place: row for row in rows}, lambda _, checkpoint_id: stored[checkpoint_id])

    assert needed == {("", "3"), ("", "2")}


# PostgreSQL's connections do not share a few threads.
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("slow", ["copy", "storage"])
async def test_runs_read_while_large_threads_are_copied_and_measured(
    store: Checkpoints, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Any number of them at a time: what takes long has a thread of its own."""
    thread, saver = uuid4(), store.saver()
    await save(saver, thread_config(thread))
    goes_on = threading.Event()
    name = "copy_in_portions" if slow == "copy" else "storage"
    work = getattr(sqlite_checkpoints, name)

    def held(*arguments: Any) -> Any:
        goes_on.wait()
        return work(*arguments)

    monkeypatch.setattr(sqlite_checkpoints, name, held)
    calls = [store.copy_thread(thread, uuid4()) if slow == "copy" else store.storage(thread) for _ in range(4)]
    slowly = [asyncio.ensure_future(call) for call in calls]
    # All of them ask before the run does.
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(30):
            assert await saver.aget_tuple(thread_config(thread)) is not None
    finally:
        goes_on.set()
        await asyncio.gather(*slowly)

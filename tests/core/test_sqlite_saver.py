"""The group-commit saver: LangGraph's conformance suite, the fence, and what was committed survives a kill."""

import asyncio
import operator
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.checkpoints.sqlite.file import CheckpointFile
from platform_site.core.checkpoints.sqlite.saver import GroupCommitSaver
from tests.core.checkpointing import Lease, checkpoint, ids, save, thread_config


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[CheckpointFile]:
    file = CheckpointFile(tmp_path / "checkpoints.sqlite3")
    yield file
    file.close()


@pytest.fixture
def saver(file: CheckpointFile) -> GroupCommitSaver:
    return GroupCommitSaver(file)


class Count(TypedDict):
    n: int
    log: Annotated[list[str], operator.add]


def counting_graph(saver: BaseCheckpointSaver[str], steps: int) -> Any:
    async def step(state: Count) -> dict[str, Any]:
        return {"n": state["n"] + 1, "log": ["step"]}

    builder = StateGraph(Count)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["n"] >= steps else "step")
    return builder.compile(checkpointer=saver)


# --- LangGraph's interface ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "capability", ["put", "put_writes", "get_tuple", "list", "delete_thread", "delete_for_runs", "copy_thread", "prune"]
)
async def test_conforms_to_langgraphs_suite(tmp_path: Path, capability: str) -> None:
    @checkpointer_test(name=f"GroupCommitSaver {capability}")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        file = CheckpointFile(tmp_path / "checkpoints.sqlite3")
        yield GroupCommitSaver(file)
        file.close()

    report = await validate(saver, capabilities={capability})

    result = report.results[capability]
    assert result.detected
    assert result.passed, result.failures


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_graph_runs_and_goes_on_with_any_durability(saver: GroupCommitSaver, durability: Any) -> None:
    graph, config = counting_graph(saver, 5), thread_config(uuid4())

    await graph.ainvoke({"n": 0, "log": []}, config, durability=durability)
    result = await graph.ainvoke({"n": 3, "log": []}, config, durability=durability)

    assert result == {"n": 5, "log": ["step"] * 7}


def test_a_synchronous_caller_uses_the_same_file(saver: GroupCommitSaver) -> None:
    config, made = thread_config(uuid4()), checkpoint(colour="red")

    saved = saver.put(config, made, {"source": "input"}, {})
    saver.put_writes(saved, [("colour", "blue")], "task")

    found = saver.get_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"colour": "red"}
    assert found.pending_writes == [("task", "colour", "blue")]
    assert [listed.config for listed in saver.list(config)] == [saved]
    saver.delete_thread(config["configurable"]["thread_id"])
    assert saver.get_tuple(config) is None


async def test_a_long_history_is_listed_whole_and_newest_first(saver: GroupCommitSaver) -> None:
    config = thread_config(uuid4())
    saved: list[RunnableConfig] = []
    for number in range(250):
        saved.append(await save(saver, saved[-1] if saved else config, number=number))
    await saver.aput_writes(saved[7], [("colour", "blue")], "task")

    listed = [found async for found in saver.alist(config)]

    assert [found.config for found in listed] == saved[::-1]
    assert [found.parent_config for found in listed] == [*saved[-2::-1], None]
    assert [found.pending_writes for found in listed if found.pending_writes] == [[("task", "colour", "blue")]]


async def test_reading_goes_on_while_a_write_transaction_is_open(saver: GroupCommitSaver, file: CheckpointFile) -> None:
    config = thread_config(uuid4())
    await save(saver, config, colour="red")
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(20)

    writing = asyncio.ensure_future(file.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    found = await saver.aget_tuple(config)
    go_on.set()
    await writing

    assert found is not None


async def test_user_types_come_back_only_with_an_allowlist(saver: GroupCommitSaver) -> None:
    config = thread_config(uuid4())
    await save(saver, config, place=Place(name="here"))

    plain = await saver.aget_tuple(config)
    allowed = await saver.with_allowlist([(Place.__module__, "Place")]).aget_tuple(config)

    assert plain is not None
    assert plain.checkpoint["channel_values"]["place"] == {"name": "here"}
    assert allowed is not None
    assert allowed.checkpoint["channel_values"]["place"] == Place(name="here")


class Place(BaseModel):
    name: str


async def test_langgraphs_own_saver_reads_the_file(saver: GroupCommitSaver, file: CheckpointFile) -> None:
    config = thread_config(uuid4())
    saved = await save(saver, config, colour="red")
    await saver.aput_writes(saved, [("colour", "blue")], "task")

    with closing(sqlite3.connect(file._path)) as connection:
        found = SqliteSaver(connection).get_tuple(config)

    assert found is not None
    assert found.checkpoint["channel_values"] == {"colour": "red"}
    assert found.pending_writes == [("task", "colour", "blue")]


async def test_metadata_that_json_cannot_hold_as_it_is_does_not_stop_a_run(saver: GroupCommitSaver) -> None:
    config = thread_config(uuid4())
    config["metadata"] = {"name": "\ud800lone", "number": 2**70}

    await save(saver, config, colour="red")

    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.metadata["source"] == "loop"


# --- The fence ---------------------------------------------------------------------------------------


async def test_a_run_that_lost_its_lease_writes_nothing(saver: GroupCommitSaver) -> None:
    lease, config = Lease(), thread_config(uuid4())
    fenced = saver.fenced(lease)
    saved = await save(fenced, config, colour="red")
    lease.lost = True

    with pytest.raises(LeaseLost, match=str(lease.run_id)):
        await save(fenced, saved, colour="blue")
    with pytest.raises(LeaseLost):
        await fenced.aput_writes(saved, [("colour", "blue")], "task")

    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.config == saved
    assert found.pending_writes == []


async def test_the_fence_is_asked_when_the_write_is_made_not_when_it_is_queued(
    saver: GroupCommitSaver, file: CheckpointFile
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(20)

    before = asyncio.ensure_future(file.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    late = asyncio.ensure_future(save(saver.fenced(lease), config, colour="red"))
    await asyncio.sleep(0)
    lease.lost = True
    go_on.set()

    await before
    with pytest.raises(LeaseLost):
        await late


async def test_a_deleted_thread_stays_deleted(saver: GroupCommitSaver) -> None:
    lease, thread = Lease(), uuid4()
    fenced = saver.fenced(lease)
    graph = counting_graph(fenced, 10_000)
    running = asyncio.ensure_future(
        graph.ainvoke({"n": 0, "log": []}, {**thread_config(thread), "recursion_limit": 20_000}, durability="async")
    )
    while not await ids(saver, thread_config(thread)):  # noqa: ASYNC110
        await asyncio.sleep(0)

    lease.lost = True
    await saver.adelete_thread(str(thread))

    with pytest.raises(LeaseLost):
        await running
    assert await ids(saver, thread_config(thread)) == []
    assert await saver._file.read(lambda db: db.execute("SELECT count(*) FROM writes").fetchone()[0]) == 0


async def test_an_allowlist_keeps_the_fence(saver: GroupCommitSaver) -> None:
    lease = Lease(lost=True)
    clone = saver.fenced(lease).with_allowlist([(Place.__module__, "Place")])

    with pytest.raises(LeaseLost):
        await save(clone, thread_config(uuid4()), colour="red")


# --- Groups ------------------------------------------------------------------------------------------


async def test_a_job_that_fails_fails_alone(file: CheckpointFile) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(20)

    def insert_and_fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES ('bad')")
        raise KeyError("bad")

    await file.write(executing("CREATE TABLE notes (name TEXT)"))
    held = asyncio.ensure_future(file.write(hold))
    await asyncio.to_thread(begun.wait, 20)
    # All of these wait while the writer is held, so they are one group.
    works = (executing("INSERT INTO notes VALUES ('a')"), insert_and_fail, executing("INSERT INTO notes VALUES ('b')"))
    group = [asyncio.ensure_future(file.write(work)) for work in works]
    await asyncio.sleep(0)
    go_on.set()
    await held
    results = await asyncio.gather(*group, return_exceptions=True)

    assert [type(result) for result in results] == [type(None), KeyError, type(None)]
    names = await file.read(lambda db: [row[0] for row in db.execute("SELECT name FROM notes ORDER BY name")])
    assert names == ["a", "b"]


async def test_a_commit_that_fails_fails_every_write_of_its_group(file: CheckpointFile) -> None:
    def prepare(connection: sqlite3.Connection) -> None:
        # Takes effect outside of a transaction only.
        for statement in ("COMMIT", "PRAGMA foreign_keys=ON", "BEGIN IMMEDIATE"):
            connection.execute(statement)
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")

    await file.write(prepare)
    begun, go_on = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(20)

    held = asyncio.ensure_future(file.write(hold))
    await asyncio.to_thread(begun.wait, 20)
    # COMMIT notices the missing parent.
    statements = ("INSERT INTO child VALUES (7)", "INSERT INTO parent VALUES (1)")
    group = [asyncio.ensure_future(file.write(executing(statement))) for statement in statements]
    await asyncio.sleep(0)
    go_on.set()
    await held
    results = await asyncio.gather(*group, return_exceptions=True)

    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 2
    assert await file.read(lambda db: db.execute("SELECT count(*) FROM parent").fetchone()[0]) == 0
    await file.write(executing("INSERT INTO parent VALUES (2)"))


def executing(statement: str) -> Any:
    return lambda connection: connection.execute(statement) and None


async def test_writes_from_many_loops_all_return(saver: GroupCommitSaver) -> None:
    threads = [uuid4() for _ in range(8)]

    def one_loop(thread: UUID) -> None:
        async def main() -> None:
            await asyncio.gather(*(save(saver, thread_config(thread), number=number) for number in range(50)))

        asyncio.run(main())

    await asyncio.gather(*(asyncio.to_thread(one_loop, thread) for thread in threads))

    assert [len(await ids(saver, thread_config(thread))) for thread in threads] == [50] * 8


async def test_closing_finishes_what_is_queued_and_refuses_what_comes_later(file: CheckpointFile) -> None:
    saver, config = GroupCommitSaver(file), thread_config(uuid4())
    queued = [asyncio.ensure_future(save(saver, config, number=number)) for number in range(100)]
    await asyncio.sleep(0)

    await asyncio.to_thread(file.close)

    await asyncio.gather(*queued)
    with pytest.raises(RuntimeError, match="closed"):
        await save(saver, config, number=1)
    reopened = CheckpointFile(file._path)
    assert len(await ids(GroupCommitSaver(reopened), config)) == 100
    reopened.close()


# --- Crashes -----------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
from platform_site.core.checkpoints.sqlite.file import CheckpointFile
from platform_site.core.checkpoints.sqlite.saver import GroupCommitSaver
from tests.core.checkpointing import save, thread_config

async def main():
    saver = GroupCommitSaver(CheckpointFile(Path(sys.argv[1])))
    async def one(thread):
        at = thread_config(thread)
        while True:
            at = await save(saver, at, text="x" * 500)
            await saver.aput_writes(at, [("text", "y" * 500)], "task")
            sys.stdout.write(at["configurable"]["checkpoint_id"] + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(one(UUID(int=number)) for number in range(8)))

asyncio.run(main())
"""


def test_whatever_was_saved_is_there_after_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite3"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    returned = [process.stdout.readline().strip() for _ in range(400)]
    process.send_signal(signal.SIGKILL)
    # What was printed before the kill was saved before it was printed; the last line may be cut short.
    returned += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()

    file = CheckpointFile(path)
    listed = {found.config["configurable"]["checkpoint_id"]: found for found in GroupCommitSaver(file).list(None)}
    file.close()

    assert set(returned) <= set(listed)
    assert all(listed[name].pending_writes == [("task", "text", "y" * 500)] for name in returned)

"""The fingerprint of a stored checkpoint is another one after any change of what its state is made of."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt

from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen
from platform_site.core.checkpoints.interface import Checkpoints
from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints
from tests.core.checkpointing import Lease, checkpoint, save, thread_config
from tests.core.test_checkpoints import leased
from tests.core.test_checkpoints import store as store
from tests.postgres import postgres_server, postgres_url  # noqa: F401

Change = Callable[[Checkpoints, RunnableConfig, Lease], Awaitable[Any]]
TASK = "task"
RESULT = "a" * 100_000
METADATA: Any = {"source": "loop", "step": 1, "parents": {}}


def taken(store: Checkpoints, thread: UUID, **asked: Any) -> list[Fingerprint]:
    """Return the fingerprints that a request takes."""
    asked = {"limit": 50, **asked}
    if isinstance(store, SqliteCheckpoints):
        return store.fingerprints_sync(thread, **asked)
    from platform_site.core.checkpoints.postgres.fingerprints import fingerprints_query

    query, params = fingerprints_query(str(thread), **{"checkpoint_id": None, "before": None, **asked})
    # The session of a request is none of the saver's: other time zone, other format of dates.
    options = "-c timezone=Asia/Kathmandu -c datestyle=German"
    with psycopg.connect(store.url, options=options) as connection:  # type: ignore[attr-defined]
        return [Fingerprint(row[0], row[1].encode()) for row in connection.execute(query, params).fetchall()]


async def run_of(store: Checkpoints, at: RunnableConfig, value: Any, task: str = TASK) -> Lease:
    """Write the result of a task on the checkpoint, as a run does."""
    lease = leased(store)
    await store.saver_for_run(lease).aput_writes(at, [("colour", value)], task)
    return lease


async def special(store: Checkpoints, at: RunnableConfig, lease: Lease, channel: str, value: Any) -> None:
    await store.saver_for_run(lease).aput_writes(at, [(channel, value)], TASK)


async def interrupted(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await special(store, at, lease, "__interrupt__", [Interrupt("yes?", id="1")])


async def interrupted_in_other_words(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await special(store, at, lease, "__interrupt__", [Interrupt("no?!", id="1")])


async def failed(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await special(store, at, lease, "__error__", "x" * 100_000)


async def failed_in_another_way(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await special(store, at, lease, "__error__", "y" * 100_000)


async def another_task(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await run_of(store, at, "blue", "another task")


async def rolled_back(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await store.delete_run(UUID(at["configurable"]["thread_id"]), lease.run_id)


async def run_again(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    await rolled_back(store, at, lease)
    await run_of(store, at, "b" * 100_000)


async def made_again(store: Checkpoints, at: RunnableConfig, lease: Lease) -> None:
    place = at["configurable"]
    await store.delete_threads([UUID(place["thread_id"])])
    made = checkpoint(colour=["b" * 100_000])
    made["id"] = place["checkpoint_id"]
    await store.saver().aput(thread_config(place["thread_id"]), made, METADATA, made["channel_versions"])
    await store.saver_for_run(lease).aput_writes(at, [("colour", RESULT)], TASK)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (None, another_task),
        (None, interrupted),
        (interrupted, interrupted_in_other_words),
        (None, failed),
        (failed, failed_in_another_way),
        (None, rolled_back),
        (None, run_again),
        (None, made_again),
    ],
)
async def test_a_change_changes_it(store: Checkpoints, before: Change | None, change: Change) -> None:
    thread = uuid4()
    at = await save(store.saver(), thread_config(thread), colour=["a" * 100_000])
    lease = await run_of(store, at, RESULT)
    if before is not None:
        await before(store, at, lease)
    [first] = taken(store, thread)

    await change(store, at, lease)

    [second] = taken(store, thread)
    assert second.checkpoint_id == first.checkpoint_id
    assert second.content != first.content


async def test_another_parent_changes_it(store: Checkpoints) -> None:
    thread, run = uuid4(), leased(store).run_id
    first = await save(store.saver(), thread_config(thread), n=1)
    middle = await save(store.saver(), first, run, n=2)
    last = await save(store.saver(), middle, n=3)
    before = taken(store, thread)

    await store.delete_run(thread, run)

    after = taken(store, thread)
    ids = [place["configurable"]["checkpoint_id"] for place in (last, middle, first)]
    assert [one.checkpoint_id for one in before] == ids
    assert [one.checkpoint_id for one in after] == [ids[0], ids[2]]
    assert (after[0] == before[0], after[1] == before[2]) == (False, True)


async def test_what_belongs_elsewhere_does_not_change_it(store: Checkpoints) -> None:
    thread = uuid4()
    at = await save(store.saver(), thread_config(thread), colour="red")
    before = taken(store, thread)

    child = await save(store.saver(), thread_config(thread, "child:1"), colour="blue")
    await run_of(store, child, "green")
    other = await save(store.saver(), thread_config(uuid4()), colour="blue")
    await run_of(store, other, "green")
    await save(store.saver(), at, colour="yellow")

    assert taken(store, thread)[1:] == before


async def test_newest_first_from_one_on_or_before_one(store: Checkpoints) -> None:
    thread, places = uuid4(), [thread_config(uuid4())]
    places[0] = thread_config(thread)
    for number in range(3):
        places.append(await save(store.saver(), places[-1], n=number))
    ids = [place["configurable"]["checkpoint_id"] for place in places[:0:-1]]

    assert [one.checkpoint_id for one in taken(store, thread, limit=2)] == ids[:2]
    assert [one.checkpoint_id for one in taken(store, thread, before=ids[0])] == ids[1:]
    assert [one.checkpoint_id for one in taken(store, thread, checkpoint_id=ids[1])] == [ids[1]]
    assert taken(store, thread, checkpoint_id=ids[1], before=ids[1]) == []
    assert taken(store, uuid4()) == []


async def test_a_reader_notes_the_same(store: Checkpoints) -> None:
    thread, seen = uuid4(), Seen()
    first = await save(store.saver(), thread_config(thread), colour=["red"])
    await run_of(store, first, RESULT)
    second = await save(store.saver(), first, colour=["blue"])
    await run_of(store, second, "green")
    await save(store.saver(), thread_config(thread, "child:1"), colour="blue")
    reader = store.saver(seen=seen)

    assert await reader.aget_tuple(second) is not None
    assert [one async for one in reader.alist(thread_config(thread))] != []
    assert await reader.aget_tuple(thread_config(thread, "child:1")) is not None

    found = taken(store, thread)
    assert [seen.of(one.checkpoint_id) for one in found] == found
    assert len(found) == 2


async def test_a_checkpoint_that_changed_between_two_reads_has_none(store: Checkpoints) -> None:
    thread, seen = uuid4(), Seen()
    at = await save(store.saver(), thread_config(thread), colour="red")
    reader = store.saver(seen=seen)
    await reader.aget_tuple(at)
    assert seen.of(at["configurable"]["checkpoint_id"]) is not None

    await run_of(store, at, "blue")
    await reader.aget_tuple(at)

    assert seen.of(at["configurable"]["checkpoint_id"]) is None


async def test_another_process_sees_the_change(tmp_path: Path) -> None:
    ours, theirs = (SqliteCheckpoints(tmp_path / "checkpoints.sqlite3") for _ in range(2))
    thread = uuid4()
    at = await save(ours.saver(), thread_config(thread), colour="red")
    before = taken(ours, thread)

    await run_of(theirs, at, "blue")

    assert taken(ours, thread) != before
    for one in (ours, theirs):
        await one.close()


async def test_a_closed_file_gives_none(tmp_path: Path) -> None:
    closed = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3")
    await closed.setup()
    assert taken(closed, uuid4()) == []

    await closed.close()

    with pytest.raises(RuntimeError, match="closed"):
        taken(closed, uuid4())

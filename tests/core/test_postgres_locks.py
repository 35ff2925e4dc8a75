"""The PostgreSQL saver beside graphs that take every thread, locks that are held, and pools without a connection."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.database.unavailable import DatabaseAway, DatabaseBusy
from tests.core.checkpointing import Lease, ids, save, thread_config
from tests.core.test_checkpoints import RUNS_TABLE
from tests.core.test_postgres_saver import checkpoints, own
from tests.postgres import postgres_server, postgres_url  # noqa: F401

__all__ = ["checkpoints"]

pytestmark = pytest.mark.postgres


# --- No transaction waits for what a graph does ----------------------------------------------------


@pytest.fixture
async def every_node_thread_is_taken() -> AsyncIterator[threading.Event]:
    """The threads for synchronous nodes are all at work until the event is set, or the test ends."""
    gate = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    node = asyncio.get_running_loop().run_in_executor(None, gate.wait)
    yield gate
    gate.set()
    await node


def is_free(url: str) -> bool:
    """Whether nobody has locked a run's row."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute("SELECT 1 FROM runs_run FOR UPDATE NOWAIT")
        except psycopg.errors.LockNotAvailable:
            return False
        return True


@pytest.mark.usefixtures("every_node_thread_is_taken")
async def test_checkpoints_are_written_and_read_though_nodes_block_every_thread(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    saver = checkpoints.saver_for_run(lease)

    async with asyncio.timeout(30):
        saved = await save(saver, config, lease.run_id, colour={"red": 1})
        await saver.aput_writes(saved, [("colour", "x" * 100_000)], "task")
        found = await saver.aget_tuple(config)

    assert found is not None
    assert found.checkpoint["channel_values"] == {"colour": {"red": 1}}
    assert found.pending_writes == [("task", "colour", "x" * 100_000)]


@pytest.mark.parametrize("writes", ["a checkpoint", "writes of a task"])
async def test_a_write_locks_nothing_while_its_values_are_packed(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    writes: str,
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    saver = checkpoints.saver_for_run(lease)
    saved = await save(saver, config, lease.run_id, colour={"red": 1})
    packing, gate, dumps = threading.Event(), threading.Event(), saver.serde.dumps_channel

    def slowly(*what: Any) -> Any:
        packing.set()
        assert gate.wait(30)
        return dumps(*what)

    monkeypatch.setattr(saver, "serde", SimpleNamespace(dumps_channel=slowly))
    write = (
        save(saver, saved, lease.run_id, colour={"blue": 1})
        if writes == "a checkpoint"
        else saver.aput_writes(saved, [("colour", {"blue": 1})], "task")
    )
    writing = asyncio.ensure_future(write)
    assert await asyncio.to_thread(packing.wait, 30)

    assert is_free(postgres_url)
    gate.set()
    await writing


async def test_a_run_is_cancelled_while_a_checkpoint_is_being_written(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
) -> None:
    """Whatever holds up the loop in the middle of it."""
    lease = Lease()
    own(postgres_url, lease)
    saver = checkpoints.saver_for_run(lease)
    with psycopg.connect(postgres_url, autocommit=True) as caller:
        caller.execute("ALTER TABLE runs_run ADD COLUMN cancel_action text")
        async with saver._cursor(pipeline=True) as cursor:
            # The server has answered the statement of the fence: its lock is held.
            await cursor.execute("SELECT 1 AS one")
            assert await cursor.fetchone() == {"one": 1}
            assert not is_free(postgres_url)
            cancelled = caller.execute(
                "UPDATE runs_run SET cancel_action = 'interrupt' WHERE run_id IN"
                " (SELECT run_id FROM runs_run FOR NO KEY UPDATE SKIP LOCKED)"
            )
            assert cancelled.rowcount == 1


# --- Locks and connections that are not to be had --------------------------------------------------


@pytest.fixture
async def impatient(postgres_url: str) -> AsyncIterator[PostgresCheckpoints]:  # noqa: F811
    """Checkpoints whose statements wait for a lock for a moment only, and that have one connection."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(RUNS_TABLE)
    checkpoints = PostgresCheckpoints(LoopPools(make_conninfo(postgres_url, options="-c lock_timeout=50"), max_size=1))
    await checkpoints.setup()
    pool = await checkpoints._pools.current()
    await pool.wait(60)
    pool.timeout = 0.05
    yield checkpoints
    await checkpoints.close()


async def until_warned(caplog: pytest.LogCaptureFixture, text: str, times: int) -> None:
    while caplog.text.count(text) < times:  # noqa: ASYNC110 - written by the code under test
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("held", ["run", "checkpoint"])
async def test_a_write_of_a_run_waits_for_a_lock_for_as_long_as_it_takes(
    impatient: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    held: str,
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    saver = impatient.saver_for_run(lease)
    saved = await save(saver, config, lease.run_id, colour={"red": 1})
    await saver.aput_writes(saved, [("__error__", "first")], "task")
    async with asyncio.timeout(30), await psycopg.AsyncConnection.connect(postgres_url) as another:
        await another.execute(
            "SELECT 1 FROM runs_run FOR UPDATE" if held == "run" else "SELECT 1 FROM checkpoint_writes FOR UPDATE"
        )
        writing = asyncio.ensure_future(saver.aput_writes(saved, [("__error__", "second")], "task"))
        await until_warned(caplog, "could not be written yet", 3)
        assert not writing.done()
        await another.commit()
        await writing

    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", "__error__", "second")]


async def test_a_write_that_waits_for_a_lock_ends_with_its_lease(
    impatient: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = Lease()
    own(postgres_url, lease)
    async with asyncio.timeout(30), await psycopg.AsyncConnection.connect(postgres_url) as another:
        await another.execute("SELECT 1 FROM runs_run FOR UPDATE")
        writing = asyncio.ensure_future(
            save(impatient.saver_for_run(lease), thread_config(uuid4()), lease.run_id, colour={"red": 1})
        )
        await until_warned(caplog, "could not be written yet", 1)
        lease.lost = True
        with pytest.raises(LeaseLost):
            await writing


async def test_a_lock_is_no_matter_of_a_run_where_there_is_none(
    impatient: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
) -> None:
    saver = impatient.saver()
    saved = await save(saver, thread_config(uuid4()), colour={"red": 1})
    await saver.aput_writes(saved, [("__error__", "first")], "task")
    async with await psycopg.AsyncConnection.connect(postgres_url) as another:
        await another.execute("SELECT 1 FROM checkpoint_writes FOR UPDATE")
        with pytest.raises(DatabaseBusy, match="locked"):
            await saver.aput_writes(saved, [("__error__", "second")], "task")


async def test_connections_that_are_all_in_use_are_told_from_a_database_that_is_away(
    impatient: PostgresCheckpoints,
) -> None:
    async with impatient._pools.connection():
        with pytest.raises(DatabaseBusy, match="connections"):
            await impatient.head(uuid4())
    assert await impatient.head(uuid4()) is None


async def test_a_pool_that_cannot_connect_says_that_the_database_is_away(impatient: PostgresCheckpoints) -> None:
    pool = await impatient._pools.current()
    pool.conninfo = "postgresql://localhost:1/nowhere"
    async with impatient._pools.connection():
        with pytest.raises(DatabaseAway):
            await impatient.head(uuid4())


async def test_a_run_waits_for_a_connection_for_as_long_as_it_takes(
    impatient: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    async with asyncio.timeout(30):
        async with impatient._pools.connection():
            saving = asyncio.ensure_future(
                save(impatient.saver_for_run(lease), config, lease.run_id, colour={"red": 1})
            )
            await until_warned(caplog, "waits for a connection", 3)
            assert not saving.done()
        await saving

    assert len(await ids(impatient.saver(), config)) == 1

"""The fenced PostgreSQL saver on a real server: LangGraph's conformance suite and the lease in the database."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
from platform_site.core.database import postgres_pool
from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.database.unavailable import DatabaseAway
from tests.core.checkpointing import Lease, ids, save, thread_config
from tests.core.test_checkpoints import RUNS_TABLE
from tests.postgres import postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres


@pytest.fixture
async def checkpoints(postgres_url: str) -> AsyncIterator[PostgresCheckpoints]:  # noqa: F811
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(RUNS_TABLE)
    checkpoints = PostgresCheckpoints(LoopPools(postgres_url))
    await checkpoints.setup()
    yield checkpoints
    await checkpoints.close()


def own(url: str, lease: Lease) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO runs_run VALUES (%s, %s)", (lease.run_id, lease.lease_owner))


@pytest.mark.parametrize(
    "capability", ["put", "put_writes", "get_tuple", "list", "delete_thread", "delete_for_runs", "copy_thread", "prune"]
)
async def test_conforms_to_langgraphs_suite(checkpoints: PostgresCheckpoints, capability: str) -> None:
    @checkpointer_test(name=f"PooledPostgresSaver {capability}")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        yield checkpoints.saver()

    report = await validate(saver, capabilities={capability})

    result = report.results[capability]
    assert result.detected
    assert result.passed, result.failures


@pytest.mark.parametrize("change", ["UPDATE runs_run SET lease_owner = 'another'", "DELETE FROM runs_run"])
async def test_a_lease_that_the_database_gave_away_refuses_writes_whole(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    change: str,
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    saver = checkpoints.saver_for_run(lease)
    saved = await save(saver, config, lease.run_id, colour={"red": 1})
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(change)

    with pytest.raises(LeaseLost):
        await save(saver, saved, lease.run_id, colour={"blue": 1}, size={"large": 1})
    with pytest.raises(LeaseLost):
        await saver.aput_writes(saved, [("colour", "blue"), ("size", "large")], "task")

    assert len(await ids(checkpoints.saver(), config)) == 1
    with psycopg.connect(postgres_url) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM checkpoint_blobs), (SELECT count(*) FROM checkpoint_writes)"
        ).fetchone()
    assert counts == (1, 0)
    # The connection went back to the pool in order.
    await save(checkpoints.saver(), config, colour={"green": 1})


async def test_a_write_holds_the_lease_until_it_is_committed(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    async with await psycopg.AsyncConnection.connect(postgres_url) as taker:
        # Another worker takes the run over, and has not committed yet.
        await taker.execute("UPDATE runs_run SET lease_owner = 'another'")
        late = asyncio.ensure_future(save(checkpoints.saver_for_run(lease), config, lease.run_id, colour="red"))
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as observer:
            while not await _waiting_for_a_lock(observer):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await taker.commit()

    with pytest.raises(LeaseLost):
        await late
    assert await ids(checkpoints.saver(), config) == []


async def _waiting_for_a_lock(connection: psycopg.AsyncConnection[tuple[int]]) -> bool:
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def test_several_processes_may_set_up_together(postgres_url: str) -> None:  # noqa: F811
    every = [PostgresCheckpoints(LoopPools(postgres_url)) for _ in range(4)]

    await asyncio.gather(*(checkpoints.setup() for checkpoints in every))

    config = thread_config(uuid4())
    await save(every[0].saver(), config, colour="red")
    assert len(await ids(every[0].saver(), config)) == 1
    await every[0].close()


async def test_threads_are_deleted_in_the_transaction_of_the_caller(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = uuid4()
    await save(checkpoints.saver(), thread_config(thread), colour="red")

    with psycopg.connect(postgres_url) as connection:
        monkeypatch.setattr("django.db.connection", connection)
        checkpoints.delete_threads_sync([thread])
        assert await checkpoints.head(thread) is not None
        connection.commit()

    assert await checkpoints.head(thread) is None


def test_the_process_wide_checkpoints_are_in_djangos_database(postgres_url: str) -> None:  # noqa: F811
    script = """
import asyncio, django
from uuid import uuid4
django.setup()
from django.db import connection
from platform_site.core.checkpoints.configured import checkpoints
from tests.core.checkpointing import save, thread_config

async def main():
    await checkpoints().setup()
    await save(checkpoints().saver(), thread_config(uuid4()), colour="red")
    await checkpoints().close()

asyncio.run(main())
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM checkpoints")
    assert cursor.fetchone() == (1,)
"""
    environment = {**os.environ, "DATABASE_URL": postgres_url, "SECRET_KEY": "not secret"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [10, 100_000])
async def test_writes_of_any_size_are_read_back(checkpoints: PostgresCheckpoints, size: int) -> None:
    saver, config = checkpoints.saver(), thread_config(uuid4())
    root = await save(saver, config, colour={"red": 1}, n=1)
    head = await save(saver, root, colour={"blue": 1}, n=2)
    await saver.aput_writes(head, [("colour", "x" * size), ("n", 3)], "task")

    newest, oldest = [found async for found in saver.alist(config)]

    assert (newest.config, newest.parent_config, oldest.parent_config) == (head, root, None)
    assert newest.checkpoint["channel_values"] == {"colour": {"blue": 1}, "n": 2}
    assert newest.pending_writes == [("task", "colour", "x" * size), ("task", "n", 3)]


async def test_text_may_hold_nul(checkpoints: PostgresCheckpoints) -> None:
    """PostgreSQL's JSON may not, and that is where LangGraph puts short texts."""
    saver, config = checkpoints.saver(), thread_config(uuid4())
    await save(saver, await save(saver, config, text="a\0b", other="plain"), text="\0", other={"a": "\0"})

    newest, oldest = [found async for found in saver.alist(config)]

    assert oldest.checkpoint["channel_values"] == {"text": "a\0b", "other": "plain"}
    assert newest.checkpoint["channel_values"] == {"text": "\0", "other": {"a": "\0"}}


async def test_a_database_that_goes_away_is_told_from_a_run_that_fails(
    checkpoints: PostgresCheckpoints,
    postgres_url: str,  # noqa: F811
) -> None:
    lease, config = Lease(), thread_config(uuid4())
    own(postgres_url, lease)
    saver = checkpoints.saver_for_run(lease)
    saved = await save(saver, config, lease.run_id, colour={"red": 1})
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(DatabaseAway):
        await save(saver, saved, lease.run_id, colour={"blue": 1})

    # Its connections are new then.
    await save(saver, saved, lease.run_id, colour={"green": 1})
    assert len(await ids(checkpoints.saver(), config)) == 2


async def test_a_connection_that_is_lost_while_it_is_made_is_not_lent(
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = psycopg.AsyncConnection.connect
    lost: list[psycopg.AsyncConnection[Any]] = []

    async def connect_and_lose_the_first(*args: Any, **kwargs: Any) -> Any:
        connection = await connect(*args, **kwargs)
        if not lost:
            lost.append(connection)
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))
        return connection

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect_and_lose_the_first)
    pools = LoopPools(postgres_url)
    try:
        async with pools.connection() as connection:
            await connection.execute("SELECT 1")
    finally:
        await pools.close_current()
    assert len(lost) == 1


async def test_a_connection_that_was_lost_before_its_first_use_is_found(
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_pool, "UNUSED_SECONDS", 0)
    pools = LoopPools(postgres_url)
    pool = await pools.current()
    await pool.wait()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(f"{others} AND pid <> pg_backend_pid()")
    try:
        async with pools.connection() as connection:
            await connection.execute("SELECT 1")
    finally:
        await pools.close_current()

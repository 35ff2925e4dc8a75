"""Long-term memory: the same behaviour on SQLite and on PostgreSQL, one workspace apart from the other."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.store.base import GetOp, PutOp

from platform_site.core.checkpoints.fence import LeaseLost
from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.database.unavailable import DatabaseAway
from platform_site.core.items.postgres import open_postgres_store
from platform_site.core.items.stores import LoopStores, OpenStore, WorkspaceStore
from tests.core.checkpointing import Lease
from tests.core.test_checkpoints import RUNS_TABLE
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.serving.raw import wait_until
from tests.store.backends import Letters, letters

WORKSPACES = count(1)
# What `aiosqlite` calls the thread of a connection.
WORKER = "_connection_worker_thread"


class Counted(LoopStores):
    """Stores that count how often one was opened."""

    opened = 0

    def __init__(self, open_store: Any) -> None:
        async def counting() -> OpenStore:
            self.opened += 1
            opened: OpenStore = await open_store()
            return opened

        super().__init__(counting)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Counted]:
    if request.param == "sqlite":
        from platform_site.core.items.sqlite import open_sqlite_store

        stores = Counted(lambda: open_sqlite_store(tmp_path / "store.sqlite3"))
        yield stores
        await stores.close_current()
    else:
        pools = LoopPools(request.getfixturevalue("postgres_url"))
        stores = Counted(lambda: open_postgres_store(pools))
        yield stores
        await stores.close_current()
        await pools.close_current()


@pytest.fixture
async def store(stores: Counted) -> WorkspaceStore:
    return WorkspaceStore(stores, next(WORKSPACES))


async def test_nothing_is_opened_before_the_first_operation(stores: Counted) -> None:
    store = WorkspaceStore(stores, next(WORKSPACES))
    assert stores.opened == 0

    await asyncio.gather(store.aget(("users",), "ada"), store.aget(("users",), "bob"))

    assert stores.opened == 1


async def test_items_come_back_with_the_namespace_they_were_put_under(store: WorkspaceStore) -> None:
    await store.aput(("users", "ada"), "colour", {"is": "red"})

    item = await store.aget(("users", "ada"), "colour")
    found = await store.asearch(("users",))

    assert item is not None
    assert (item.namespace, item.key, item.value) == (("users", "ada"), "colour", {"is": "red"})
    assert [(hit.namespace, hit.key) for hit in found] == [(("users", "ada"), "colour")]


async def test_a_search_without_a_prefix_finds_everything_of_the_workspace_only(stores: Counted) -> None:
    ours, theirs = WorkspaceStore(stores, next(WORKSPACES)), WorkspaceStore(stores, next(WORKSPACES))
    await ours.aput(("users",), "ada", {"n": 1})
    await theirs.aput(("users",), "bob", {"n": 2})

    assert [hit.key for hit in await ours.asearch(())] == ["ada"]
    assert await ours.aget(("users",), "bob") is None
    assert await ours.alist_namespaces() == [("users",)]
    await ours.adelete(("users",), "bob")
    assert await theirs.aget(("users",), "bob") is not None


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [("docs", "a", "draft"), ("docs", "b"), ("draft",)]),
        ({"prefix": ("docs",)}, [("docs", "a", "draft"), ("docs", "b")]),
        ({"prefix": ("*", "a")}, [("docs", "a", "draft")]),
        ({"suffix": ("draft",)}, [("docs", "a", "draft"), ("draft",)]),
        # The hidden label is no part of a namespace.
        ({"suffix": ("*", "draft")}, [("docs", "a", "draft")]),
        ({"prefix": ("docs",), "suffix": ("draft",)}, [("docs", "a", "draft")]),
        ({"max_depth": 1}, [("docs",), ("draft",)]),
    ],
)
async def test_namespaces_are_matched_as_the_graph_sees_them(
    store: WorkspaceStore, conditions: dict[str, Any], expected: list[tuple[str, ...]]
) -> None:
    for namespace in (("docs", "a", "draft"), ("docs", "b"), ("draft",)):
        await store.aput(namespace, "key", {"n": 1})

    assert sorted(await store.alist_namespaces(**conditions)) == expected


async def test_the_workspace_cannot_be_named(store: WorkspaceStore) -> None:
    await store.aput(("docs",), "key", {"n": 1})

    assert await store.alist_namespaces(suffix=(store._label, "docs")) == []
    assert await store.asearch((store._label,)) == []


async def test_a_synchronous_node_uses_the_store_from_its_thread(store: WorkspaceStore) -> None:
    def node() -> Any:
        store.put(("users",), "ada", {"n": 1})
        return store.get(("users",), "ada")

    item = await asyncio.to_thread(node)

    assert item.namespace == ("users",)


async def test_a_synchronous_call_on_the_event_loop_is_an_error_that_says_what_to_do(store: WorkspaceStore) -> None:
    with pytest.raises(asyncio.InvalidStateError, match=r"await store\.aget"):
        store.get(("users",), "ada")


async def test_a_cancelled_run_does_not_break_the_store_for_others(store: WorkspaceStore) -> None:
    for number in range(30):
        task = asyncio.ensure_future(store.aput(("users",), "ada", {"n": number}))
        for _ in range(number % 6):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    await store.aput(("users",), "bob", {"n": 1})

    assert await store.aget(("users",), "bob") is not None


async def test_two_loops_work_on_the_same_items_at_the_same_time(stores: Counted) -> None:
    workspace = next(WORKSPACES)

    async def work(name: str) -> None:
        store = WorkspaceStore(stores, workspace)
        for number in range(30):
            await store.abatch([])
            await store.aput(("users",), f"{name}-{number}", {"n": number})
            await store.aget(("users",), f"{name}-{number}")

    async def elsewhere() -> None:
        await work("theirs")
        await stores.close_current()

    other = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
    await work("ours")
    await other

    assert len(await WorkspaceStore(stores, workspace).asearch((), limit=100)) == 60
    assert stores.opened == 2


async def test_loops_that_are_over_leave_neither_store_nor_connection_behind(stores: Counted) -> None:
    """A synchronous node may call `asyncio.run` in each of its steps."""
    workspace = next(WORKSPACES)
    # Stores of other tests may still be open in this process.
    before = set(threading.enumerate())

    async def step() -> None:
        await WorkspaceStore(stores, workspace).aput(("users",), "ada", {"n": 1})

    for _ in range(5):
        await asyncio.to_thread(lambda: asyncio.run(step()))
    assert await WorkspaceStore(stores, workspace).aget(("users",), "ada") is not None

    assert stores.opened == 6
    assert stores.kept == 1
    # On SQLite a connection has a thread of its own.
    await asyncio.to_thread(
        wait_until, lambda: len([each for each in set(threading.enumerate()) - before if WORKER in each.name]) <= 1
    )


@pytest.mark.postgres
async def test_loops_that_are_over_leave_no_sessions_behind(postgres_url: str) -> None:  # noqa: F811
    pools = LoopPools(postgres_url)

    async def step() -> int:
        async with pools.connection() as connection:
            return connection.info.backend_pid

    gone = [await asyncio.to_thread(lambda: asyncio.run(step())) for _ in range(5)]
    kept = await step()

    assert len(pools._pools) == 1
    wanted = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        wait_until(lambda: connection.execute(wanted, ([*gone, kept],)).fetchall() == [(kept,)])
    await pools.close_current()


async def test_closing_does_not_mind_that_another_loop_begins_operations(store: WorkspaceStore) -> None:
    stores = store._stores
    await store.aget(("users",), "ada")

    class Elsewhere:
        def get_loop(self) -> None:
            stores._running.add(Elsewhere())  # type: ignore[arg-type]

    stores._running |= {Elsewhere(), Elsewhere()}  # type: ignore[arg-type]
    await stores.close_current()


async def test_a_store_that_could_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    from platform_site.core.items.sqlite import open_sqlite_store

    attempts = 0

    async def second_time_lucky() -> OpenStore:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("not yet")
        return await open_sqlite_store(tmp_path / "store.sqlite3")

    stores = LoopStores(second_time_lucky)
    store = WorkspaceStore(stores, next(WORKSPACES))

    with pytest.raises(OSError, match="not yet"):
        await store.aget(("users",), "ada")
    assert await store.aget(("users",), "ada") is None
    await stores.close_current()


async def test_an_attempt_that_has_lost_its_lease_writes_nothing_but_may_read(stores: Counted) -> None:
    workspace, lease = next(WORKSPACES), Lease()
    await WorkspaceStore(stores, workspace).aput(("notes",), "one", {"by": "a person"})
    store = WorkspaceStore(stores, workspace, fence=lease)
    lease.lost = True

    with pytest.raises(LeaseLost):
        await store.aput(("notes",), "one", {"by": "a late attempt"})
    with pytest.raises(LeaseLost):
        await store.adelete(("notes",), "one")

    item = await store.aget(("notes",), "one")
    assert item is not None
    assert item.value == {"by": "a person"}


async def test_a_lease_that_is_lost_while_a_model_embeds_refuses_the_item(tmp_path: Path) -> None:
    from platform_site.core.items.sqlite import open_sqlite_store

    lease = Lease()

    class Slow(Letters):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            lease.lost = True
            return await super().aembed_documents(texts)

    stores = LoopStores(lambda: open_sqlite_store(tmp_path / "store.sqlite3", letters(Slow())))
    store = WorkspaceStore(stores, next(WORKSPACES), fence=lease)

    with pytest.raises(LeaseLost):
        await store.aput(("notes",), "one", {"by": "a late attempt"})
    assert await store.asearch(()) == []
    await stores.close_current()


async def test_an_attempt_that_has_lost_its_lease_may_read_what_reading_prolongs(stores: Counted) -> None:
    workspace, lease = next(WORKSPACES), Lease()
    await WorkspaceStore(stores, workspace).aput(("notes",), "one", {}, ttl=5)
    store = WorkspaceStore(stores, workspace, fence=lease)
    # PostgreSQL of this test has no run whose lease it could be.
    with contextlib.suppress(psycopg.Error):
        await store.adelete(("notes",), "another")
    lease.lost = True

    assert await store.aget(("notes",), "one") is not None


@pytest.mark.postgres
async def test_a_database_that_goes_away_is_told_from_an_operation_that_fails(postgres_url: str) -> None:  # noqa: F811
    pools = LoopPools(postgres_url)
    stores = LoopStores(lambda: open_postgres_store(pools))
    store = WorkspaceStore(stores, next(WORKSPACES))
    for op in (PutOp(("notes",), "one", {"written": 1}), GetOp(("notes",), "one")):
        await store.abatch([op])
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(DatabaseAway):
            await store.abatch([op])
        await store.abatch([op])
    await stores.close_current()
    await pools.close_current()


@pytest.mark.postgres
async def test_a_lease_that_the_database_gave_away_refuses_items(postgres_url: str) -> None:  # noqa: F811
    pools, lease = LoopPools(postgres_url), Lease()
    stores = LoopStores(lambda: open_postgres_store(pools))
    store = WorkspaceStore(stores, next(WORKSPACES), fence=lease)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(RUNS_TABLE)
        connection.execute("INSERT INTO runs_run VALUES (%s, %s)", (lease.run_id, lease.lease_owner))
        await store.aput(("notes",), "one", {"written": 1})
        connection.execute("UPDATE runs_run SET lease_owner = 'another'")

        with pytest.raises(LeaseLost):
            await store.abatch([PutOp(("notes",), "one", {"written": 2}), PutOp(("notes",), "two", {"written": 2})])

    assert [item.value for item in await store.asearch(("notes",))] == [{"written": 1}]
    await stores.close_current()
    await pools.close_current()

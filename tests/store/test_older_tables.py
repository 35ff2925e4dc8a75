"""Tables that LangGraph's own stores made and filled are taken over as they are."""

import sqlite3
from datetime import UTC
from pathlib import Path

import pytest
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite import SqliteStore

from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.items.postgres import open_postgres_store
from platform_site.core.items.sqlite import open_sqlite_store
from tests.store.backends import letters


async def test_items_of_the_official_sqlite_store(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    with SqliteStore.from_conn_string(str(path)) as official:
        official.setup()
        official.put(("1", "n"), "old", {"t": "a"}, ttl=1000)
        official.put(("1", "n"), "gone", {"t": "a"}, ttl=5)
    with sqlite3.connect(path) as connection:
        # As the official store writes it when it refreshes an item.
        connection.execute("UPDATE store SET expires_at = '2026-01-01 00:00:00' WHERE key = 'gone'")

    store, close = await open_sqlite_store(path, letters(fields=["t"]))
    await store.aput(("1", "n"), "new", {"t": "b"})
    found = await store.asearch(("1",), filter={"t": {"$ne": "z"}})
    again = await store.aget(("1", "n"), "old", refresh_ttl=True)
    await close()

    assert [item.key for item in found] == ["old", "new"]
    assert all(item.created_at.tzinfo == UTC for item in found)
    assert again is not None
    # What it was before: other programs still read it.
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM store").fetchone() == (3,)


@pytest.mark.postgres
async def test_items_of_the_official_postgres_store(postgres_url: str) -> None:
    async with AsyncPostgresStore.from_conn_string(postgres_url) as official:
        await official.setup()
        await official.abatch([])
        await official.aput(("1", "n"), "old", {"t": "a"}, ttl=1000)

    pools = LoopPools(postgres_url)
    store, _ = await open_postgres_store(pools, letters(fields=["t"]))
    await store.aput(("1", "n"), "new", {"t": "b"}, ttl=0.5)
    found = await store.asearch(("1",))
    # Opened again, nothing is changed again.
    await open_postgres_store(pools, letters(fields=["t"]))
    await pools.close_current()

    assert [item.key for item in found] == ["old", "new"]

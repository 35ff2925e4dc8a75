"""What SQLite cannot do is said, and does not break the connection that all share."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from platform_site.core.items.sqlite import SharedSqliteStore, open_sqlite_store

PLACE = ("1", "n")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SharedSqliteStore]:
    store, close = await open_sqlite_store(tmp_path / "store.sqlite3")
    assert isinstance(store, SharedSqliteStore)
    yield store
    await close()


async def test_a_full_disk_is_named_and_what_fits_is_still_stored(store: SharedSqliteStore) -> None:
    await store.conn.execute("PRAGMA max_page_count = 30")

    with pytest.raises(sqlite3.OperationalError, match="full"):
        await store.aput(PLACE, "large", {"x": "a" * 1_000_000})
    await store.aput(PLACE, "small", {})

    assert [item.key for item in await store.asearch(PLACE)] == ["small"]


async def test_a_commit_that_failed_is_undone(store: SharedSqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = store.conn.execute

    async def without_commit(statement: str, *args: Any) -> Any:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return await execute(statement, *args)

    with monkeypatch.context() as patched:
        patched.setattr(store.conn, "execute", without_commit)
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
            await store.aput(PLACE, "k", {})

    assert await store.aget(PLACE, "k") is None

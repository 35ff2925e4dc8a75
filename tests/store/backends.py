"""A store on every backend: the same test runs on each.

`sqlite` is Python's own SQLite, where vectors are compared with numpy if it loads no extensions; `sqlite-vec` is one
that loads them; `postgres` is a real server with pgvector.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from platform_site.core.database.postgres_pool import LoopPools
from platform_site.core.items.embeddings import Embedder
from platform_site.core.items.postgres import open_postgres_store
from platform_site.core.items.sqlite import open_sqlite_store
from platform_site.core.items.store import ItemStore, StoreClock
from platform_site.core.items.stores import LoopStores, OpenStore, WorkspaceStore

BACKENDS = ["sqlite", "sqlite-vec", pytest.param("postgres", marks=pytest.mark.postgres)]
WORKSPACES = count(1)


class Time:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def goes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


class Letters:
    """An embedding that counts the letters a, b, c and d: similar is what has them in like proportions."""

    dims = 4

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [[float(text.count(letter)) for letter in "abcd"] for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "abcd"]


@dataclass
class Backend:
    """Where stores are opened, with an index or without one, on one clock."""

    kind: str
    directory: Path
    url: str = ""
    time: Time = field(default_factory=Time)
    opened: list[tuple[LoopStores, LoopPools | None]] = field(default_factory=list)

    @property
    def connect(self) -> Any:
        """Another SQLite's function, if it is to be another one. Two on one file in a process destroy it."""
        if self.kind != "sqlite-vec":
            return None
        return pytest.importorskip("pysqlite3.dbapi2", reason="pysqlite3-binary is not installed").connect

    def stores(self, embedder: Embedder | None = None) -> LoopStores:
        clock = StoreClock(self.time)
        if self.kind == "postgres":
            pools = LoopPools(self.url)
            stores = LoopStores(lambda: open_postgres_store(pools, embedder, clock))
        else:
            pools = None

            async def opened() -> OpenStore:
                path = self.directory / "store.sqlite3"
                return await open_sqlite_store(path, embedder, clock, connect=self.connect)

            stores = LoopStores(opened)
        self.opened.append((stores, pools))
        return stores

    def workspace(self, embedder: Embedder | None = None, **ttl: Any) -> WorkspaceStore:
        """A new workspace's store."""
        return WorkspaceStore(self.stores(embedder), next(WORKSPACES), ttl or None)  # type: ignore[arg-type]

    async def close(self) -> None:
        for stores, pools in self.opened:
            await stores.close_current()
            if pools is not None:
                await pools.close_current()


def letters(
    embeddings: Any = None, *, dims: int = 4, fields: Sequence[str] = ("$",), name: str = "letters"
) -> Embedder:
    return Embedder(embeddings or Letters(), dims=dims, name=name, fields=tuple(fields))


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    backend = Backend(request.param, tmp_path, url)
    yield backend
    await backend.close()


@pytest.fixture
async def store(backend: Backend) -> WorkspaceStore:
    """A workspace's store without an index."""
    return backend.workspace()


async def item_store(workspace: WorkspaceStore) -> ItemStore:
    """The store of the current loop itself, below its workspaces."""

    async def itself(store: ItemStore) -> ItemStore:
        return store

    return await workspace._stores.call(itself)


async def stored_vectors(workspace: WorkspaceStore) -> list[tuple[str, str]]:
    """Key and name of every vector in the database."""

    async def read(store: ItemStore) -> list[Any]:
        async with store.reading() as cursor:
            return list(await store.rows(cursor, "SELECT key, field_name FROM store_vectors ORDER BY 1, 2", []))

    return [(key, name) for key, name in await workspace._stores.call(read)]


async def keys(found: Any) -> list[str]:
    return [item.key for item in await found]

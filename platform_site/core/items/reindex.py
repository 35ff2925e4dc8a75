"""Embedding every item of a store anew, after `store.index` was changed or first written."""

from collections.abc import Awaitable, Callable

import orjson
from django.conf import settings

from platform_site.core.config import config
from platform_site.core.items import index as store_index
from platform_site.core.items.embeddings import embedder
from platform_site.core.items.store import ALIVE, ItemStore, Row

# Items whose texts are given to the model together.
BATCH = 100

Close = Callable[[], Awaitable[None]]


async def open_anew() -> tuple[ItemStore, Close]:
    """The configured store without its vectors, and how to close it."""
    if settings.DATABASE_URL:
        from platform_site.core.database.postgres_pool import loop_pools
        from platform_site.core.items.postgres import open_postgres_store

        pools = loop_pools()
        store, _ = await open_postgres_store(pools, embedder(config()), anew=True)
        return store, pools.close_current
    from platform_site.core.items.sqlite import open_sqlite_store

    return await open_sqlite_store(settings.DATA_DIR / "store.sqlite3", embedder(config()), anew=True)


async def reindex(store: ItemStore) -> tuple[int, int]:
    """Make the vectors of every item, as each said when it was put; how many items and vectors there are.

    Until it has ended no server starts on this store. It may be begun again at any time.
    """
    assert store.embedder is not None
    items = vectors = 0
    last = ("", "")
    while rows := await _batch(store, last):
        vectors += await _embed(store, rows)
        items += len(rows)
        last = rows[-1][0], rows[-1][1]
    async with store.writing() as cursor:
        await store.rows(cursor, store_index.FORGET, [])
        await store.rows(cursor, store_index.REMEMBER, [store.embedder.dims, store.embedder.name])
    return items, vectors


async def _batch(store: ItemStore, last: tuple[str, str]) -> list[Row]:
    statement = (
        f"SELECT {store.columns}, index_paths FROM store "
        f"WHERE (prefix, key) > (?, ?) AND {ALIVE} ORDER BY prefix, key LIMIT ?"
    )
    async with store.reading() as cursor:
        return await store.rows(cursor, statement, [*last, store.moment(store.clock.now()), BATCH])


async def _embed(store: ItemStore, rows: list[Row]) -> int:
    assert store.embedder is not None
    texts = [
        ((prefix, key, name), text)
        for prefix, key, value, *_, paths in rows
        for name, text in store.texts(value, None if paths is None else orjson.loads(paths))
    ]
    vectors = await store.embedder.documents([text for _, text in texts])
    async with store.writing() as cursor:
        await store.put_vectors(cursor, [name for name, _ in texts], vectors)
    return len(texts)

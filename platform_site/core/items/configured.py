"""The stores of this process: chosen by the settings and `langgraph.json`."""

from functools import cache

from django.conf import settings
from langgraph.store.base import TTLConfig

from platform_site.core.checkpoints.configured import checkpoints
from platform_site.core.checkpoints.fence import Fence
from platform_site.core.config import config
from platform_site.core.items.stores import LoopStores, OpenStore, WorkspaceStore


@cache
def loop_stores() -> LoopStores:
    """The stores of this process, in the database that `DATABASE_URL` names."""
    # Imported by the first operation: most processes never need them.
    if settings.DATABASE_URL:

        async def open_store() -> OpenStore:
            from platform_site.core.database.postgres_pool import loop_pools
            from platform_site.core.items.embeddings import embedder
            from platform_site.core.items.index import is_optional
            from platform_site.core.items.postgres import open_postgres_store

            return await open_postgres_store(loop_pools(), embedder(config()), without_index=is_optional(config()))

    else:

        async def open_store() -> OpenStore:
            from platform_site.core.items.embeddings import embedder
            from platform_site.core.items.sqlite import open_sqlite_store

            return await open_sqlite_store(settings.DATA_DIR / "store.sqlite3", embedder(config()))

    return LoopStores(open_store)


@cache
def _ttl_config() -> TTLConfig | None:
    """`store.ttl` of `langgraph.json`."""
    section = config().store
    if section is None or section.ttl is None:
        return None
    return TTLConfig(refresh_on_read=section.ttl.refresh_on_read, default_ttl=section.ttl.default_ttl)


def store_for(workspace_id: int, fence: Fence | None = None) -> WorkspaceStore:
    """The workspace's store, for what runs on the current event loop. Nothing is opened before its first operation.

    The graph of a run writes under the `fence` of its attempt.
    """
    return WorkspaceStore(loop_stores(), workspace_id, _ttl_config(), fence)


async def close_storage() -> None:
    """Close what the current loop holds of stores and checkpoints: before the loop stops."""
    await loop_stores().close_current()
    if settings.DATABASE_URL:
        await checkpoints().close()

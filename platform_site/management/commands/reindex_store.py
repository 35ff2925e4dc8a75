"""`manage.py reindex_store`: embed every item of the store anew, after `store.index` was changed or first written."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from platform_site.core.config import ConfigError, config
from platform_site.core.database.data_directory import DataDirectoryInUse
from platform_site.core.items.embeddings import EmbeddingFailed
from platform_site.processes import serving


class Command(BaseCommand):
    help = "Embed every item of the store anew. Stop all servers first."

    def handle(self, *args: Any, **options: Any) -> None:
        section = config().store
        if section is None or section.index is None:
            raise CommandError(f"{config().path} has no `store.index`: there is nothing to embed with")
        try:
            serving.claim_data_directory("manage.py reindex_store")
            items, vectors = asyncio.run(_reindex())
        except (ConfigError, DataDirectoryInUse, EmbeddingFailed) as reason:
            raise CommandError(str(reason)) from None
        place = "PostgreSQL" if settings.DATABASE_URL else settings.DATA_DIR
        self.stdout.write(f"{items} items in {place} have {vectors} vectors by {section.index.embed}.")


async def _reindex() -> tuple[int, int]:
    from platform_site.core.items.reindex import open_anew, reindex

    store, close = await open_anew()
    try:
        return await reindex(store)
    finally:
        await close()

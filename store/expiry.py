"""Deleting items whose time is over. They are absent already: this gives their space back."""

from django.conf import settings

from platform_site.core.config import config
from platform_site.core.loops import state_loop

TASK = "store"
# Minutes between two sweeps, unless `store.ttl` says.
DEFAULT_INTERVAL = 5.0
# Seconds until the first one: the start has better things to do.
FIRST = 30.0
# Items deleted in one transaction; others can write in between.
BATCH = 500


def interval() -> float:
    """Seconds between two sweeps."""
    section = config().store
    minutes = section.ttl.sweep_interval_minutes if section and section.ttl else None
    return (minutes or DEFAULT_INTERVAL) * 60


class Sweeper:
    """The background task: its first round only waits."""

    def __init__(self) -> None:
        self._begun = False

    async def round(self) -> float | None:
        if not self._begun:
            self._begun = True
            return FIRST
        if settings.DATABASE_URL or (settings.DATA_DIR / "store.sqlite3").exists():
            await sweep()
        return None


async def sweep() -> int:
    """Delete every expired item with its vectors; how many there were. Several processes may do it at once."""

    async def there() -> int:
        # Imported by the first sweep: LangGraph takes its time.
        from platform_site.core.items.configured import loop_stores

        deleted = 0
        while count := await loop_stores().call(lambda store: store.sweep(BATCH)):
            deleted += count
        return deleted

    return await state_loop().run(there())

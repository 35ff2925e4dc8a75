"""The checkpoints of this process, in the database that `DATABASE_URL` names."""

from functools import cache

from django.conf import settings

from platform_site.core.checkpoints.interface import Checkpoints


@cache
def checkpoints() -> Checkpoints:
    """The checkpoints of this process: in Django's PostgreSQL database, else in a file beside the SQLite one."""
    if settings.DATABASE_URL:
        from platform_site.core.checkpoints.postgres.checkpoints import PostgresCheckpoints
        from platform_site.core.database.postgres_pool import loop_pools

        return PostgresCheckpoints(loop_pools())
    from platform_site.core.checkpoints.sqlite.checkpoints import SqliteCheckpoints

    return SqliteCheckpoints(settings.DATA_DIR / "checkpoints.sqlite3")

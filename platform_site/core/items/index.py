"""Which model made the vectors of the store: another one's do not compare with them.

The store remembers `dims` and `embed` of `langgraph.json` in a table of one row.
"""

import logging
import sqlite3
from contextlib import closing
from typing import Any

from django.conf import settings
from django.db import DatabaseError, ProgrammingError, connection

from platform_site.core.config import SAMPLES, Config, ConfigError
from platform_site.core.items.embeddings import check_embed

logger = logging.getLogger("switchyard.store")

CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector"
CREATE = "CREATE TABLE IF NOT EXISTS store_index (id integer PRIMARY KEY CHECK (id = 1), dims integer, embed text)"
READ = "SELECT dims, embed FROM store_index"
# While vectors are made anew: whoever starts in between, or after a crash, must not take them for complete.
UNFINISHED = (0, "an unfinished reindex_store")
FORGET = "DELETE FROM store_index"
REMEMBER = "INSERT INTO store_index (id, dims, embed) VALUES (1, ?, ?) ON CONFLICT (id) DO NOTHING"


def check_index(config: Config) -> None:
    """Raises `ConfigError` when `store.index` cannot be used, or does not fit the vectors that the store has."""
    index = config.store.index if config.store else None
    if index is None:
        return
    check_embed(config)
    if settings.DATABASE_URL:
        _check_pgvector(config)
    made_by = _made_by()
    if made_by is not None:
        compare(made_by, (index.dims, index.embed))


def compare(made_by: tuple[Any, ...], asked: tuple[int, str]) -> None:
    """Raises `ConfigError` unless the vectors that are there were made as it is asked now."""
    if tuple(made_by) != asked:
        raise ConfigError(
            "`store.index` of langgraph.json asks for {} numbers by `{}`, but the vectors in the store are {} numbers "
            "by `{}`; put that back, or stop all servers and run `manage.py reindex_store`, which embeds every item "
            "anew".format(*asked, *made_by)
        )


def without_pgvector(error: Exception) -> ConfigError:
    """What an operator is told whose database has no vectors."""
    return ConfigError(
        "`store.index` needs the PostgreSQL extension pgvector, which this database does not have: install it on "
        f"the database server and run `CREATE EXTENSION vector` as its superuser ({str(error).strip()})"
    )


def is_optional(config: Config) -> bool:
    """Whether the store may do without its index: the samples are served by every PostgreSQL."""
    return config.path == SAMPLES


def _check_pgvector(config: Config) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(CREATE_EXTENSION)
    except DatabaseError as error:
        missing = without_pgvector(error)
        if not is_optional(config):
            raise missing from error
        logger.warning("the samples' store is not searched by meaning: %s", missing)


def _made_by() -> tuple[Any, ...] | None:
    """Read without LangGraph, whose import would cost the start a second."""
    if settings.DATABASE_URL:
        with connection.cursor() as cursor:
            try:
                cursor.execute(READ)
            except ProgrammingError:
                return None
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row
    path = settings.DATA_DIR / "store.sqlite3"
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as file:
        try:
            return file.execute(READ).fetchone()
        except sqlite3.OperationalError:
            return None

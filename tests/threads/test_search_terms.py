"""The triggers that keep SQLite's table of search terms are there after every migration."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor

from platform_site.access.models import Workspace
from platform_site.core.database.access import IS_POSTGRES
from threads.models import Thread
from threads.search_terms import TRIGGERS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(IS_POSTGRES, reason="PostgreSQL has an index of its own"),
]


def triggers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'threads_thread'")
        return {name for (name,) in cursor.fetchall()}


def terms() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, value FROM threads_metadata_term ORDER BY key, value")
        return list(cursor.fetchall())


@pytest.fixture
def workspace() -> Workspace:
    return Workspace.objects.create(slug="terms", name="Terms")


@pytest.fixture
def remade_table() -> Iterator[None]:
    """What the next migration with a column that is not null does: SQLite makes the table anew."""
    column = models.CharField(max_length=5, default="x")
    column.set_attributes_from_name("extra")
    column.model = Thread
    with connection.schema_editor() as editor:
        editor.add_field(Thread, column)
    yield
    with connection.schema_editor() as editor:
        editor.remove_field(Thread, column)
    call_command("migrate", verbosity=0)


def test_every_trigger_is_there_after_all_migrations() -> None:
    """0008 alters a column, for which the table was made anew as well."""
    assert triggers() == set(TRIGGERS)
    assert len(TRIGGERS) == 3


def test_a_new_column_drops_them_and_the_end_of_migrate_brings_them_back(
    workspace: Workspace, remade_table: None
) -> None:
    assert triggers() == set()
    call_command("migrate", verbosity=0)
    assert triggers() == set(TRIGGERS)


def test_terms_that_were_missed_meanwhile_are_made(workspace: Workspace, remade_table: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO threads_thread (thread_id, workspace_id, title, status, metadata, config, ephemeral, "
            "ttl_strategy, created_at, updated_at, state_updated_at, extra) VALUES ('0123456789abcdef0123456789abcdef',"
            " %s, '', 'idle', '{\"a\":\"x\"}', '{}', 0, 'delete', '2026-01-01', '2026-01-01', '2026-01-01', 'x')",
            [workspace.pk],
        )
    assert terms() == []
    call_command("migrate", verbosity=0)
    assert terms() == [("a", "tx")]
    Thread.objects.all().delete()
    assert terms() == []


def test_a_database_that_is_migrated_back_and_forth_keeps_its_terms(workspace: Workspace) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("threads", "0006_expiry"), ("runs", None), ("crons", None)])
    # As `serve` does it.
    call_command("migrate", verbosity=0, interactive=False)
    Thread.objects.create(workspace=workspace, metadata={"b": "x"})
    assert triggers() == set(TRIGGERS)
    assert terms() == [("b", "tx")]

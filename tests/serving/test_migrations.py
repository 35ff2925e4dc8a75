"""Whether there is something to migrate is asked without loading the migrations."""

import sys

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from platform_site.processes import serving


@pytest.mark.django_db
def test_nothing_is_pending_after_migrate() -> None:
    assert not serving.migrations_pending()


@pytest.mark.django_db
def test_migrations_make_the_tables_of_the_models() -> None:
    # It ends the process with 1 where a model has changed and no migration says so.
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_a_file_without_a_row_is_pending() -> None:
    MigrationRecorder(connection).record_unapplied("runs", "0001_initial")
    assert serving.migrations_pending()


@pytest.mark.django_db
def test_a_row_without_a_file_is_not() -> None:
    MigrationRecorder(connection).record_applied("gone", "0001_initial")
    assert not serving.migrations_pending()


@pytest.mark.django_db
def test_asking_imports_no_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if ".migrations.0" in name]:
        monkeypatch.delitem(sys.modules, name)
    serving.migrations_pending()
    assert not [name for name in sys.modules if ".migrations.0" in name]

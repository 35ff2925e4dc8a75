"""Which errors of a database are a matter of time, and which are a statement's own fault."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from django.db import InterfaceError, OperationalError

from platform_site.core.database.access import LOCKED
from platform_site.core.database.outages import AWAY, BUSY, FULL, outage
from platform_site.core.database.unavailable import DatabaseAway
from tests.postgres import postgres_server as postgres_server
from tests.postgres import postgres_url as postgres_url


def of_django(cause: Exception) -> OperationalError:
    """The driver's error as Django raises it."""
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


def sqlite_error(path: Path, *statements: str) -> sqlite3.Error:
    """What SQLite raises at the last of these statements."""
    *before, last = statements
    db = sqlite3.connect(path, timeout=0)
    for statement in before:
        db.execute(statement)
    with pytest.raises(sqlite3.Error) as caught:
        db.execute(last)
    db.close()
    return caught.value


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 WHERE 'x' LIKE '%' || hex(zeroblob(50000))",
        "SELECT " + " AND ".join(["1"] * 2000),
        "SELECT 1 FROM nowhere",
        "SELEKT",
    ],
    ids=["pattern", "depth", "table", "syntax"],
)
def test_a_statement_that_sqlite_refuses_is_no_outage(tmp_path: Path, statement: str) -> None:
    assert outage(of_django(sqlite_error(tmp_path / "db", statement))) is None


def test_a_locked_sqlite_file_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert outage(of_django(sqlite_error(path, "CREATE TABLE t (x)"))) == BUSY
    holder.close()


def test_a_full_sqlite_file_is_full(tmp_path: Path) -> None:
    found = sqlite_error(
        tmp_path / "db", "PRAGMA max_page_count=2", "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))"
    )
    assert outage(of_django(found)) == FULL


def test_a_sqlite_file_that_cannot_be_opened_is_away(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect(tmp_path / "no" / "such" / "directory")
    assert outage(of_django(caught.value)) == AWAY


@pytest.mark.postgres
def test_postgres_says_which_is_which(postgres_url: str) -> None:
    def failure(*statements: str) -> str | None:
        *before, last = statements
        with psycopg.connect(postgres_url, autocommit=True) as db:
            for statement in before:
                db.execute(statement.encode())
            with pytest.raises(psycopg.Error) as caught:
                db.execute(last.encode())
        return outage(of_django(caught.value))

    with psycopg.connect(postgres_url) as holder:
        holder.execute("CREATE TABLE held (x int)")
        holder.commit()
        holder.execute("LOCK TABLE held")
        assert failure("SET lock_timeout = 1", "SELECT * FROM held") == LOCKED
        assert failure("SET statement_timeout = 1", "SELECT * FROM held") == BUSY
    assert failure("SELECT pg_terminate_backend(pg_backend_pid())") == AWAY
    # "stack depth limit exceeded", an OperationalError as well: an input that is too deep.
    assert failure("SELECT " + "(" * 20_000 + "1" + ")" * 20_000) is None
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")
    assert outage(of_django(caught.value)) == AWAY


def test_a_closed_connection_and_absent_checkpoints_are_away() -> None:
    assert outage(InterfaceError("connection already closed")) == AWAY
    assert outage(DatabaseAway("gone")) == AWAY


def test_a_wrong_parameter_is_a_fault_of_ours() -> None:
    error = InterfaceError("bad parameter")
    error.__cause__ = sqlite3.InterfaceError("bad parameter")
    assert outage(error) is None
    assert outage(ValueError("x")) is None

"""Counts what a server's database holds of threads, in whatever table: its own, LangGraph's, those of the searches."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

# The columns by which a row belongs to a thread or to a run on one.
_COLUMNS = ("thread_id", "run_id")


def rows_of_threads(place: Path | str) -> dict[str, int]:
    """The tables that hold rows of threads, with how many. `place` is a data directory, or the URL of PostgreSQL."""
    if isinstance(place, str):
        with psycopg.connect(place) as connection:
            tables = connection.execute(
                "SELECT DISTINCT table_name FROM information_schema.columns"
                " WHERE table_schema = current_schema() AND (table_name = 'threads_thread' OR column_name = ANY(%s))",
                [list(_COLUMNS)],
            ).fetchall()
            counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone() for (name,) in tables}
            return {name: found[0] for name, found in counts.items() if found and found[0]}
    held = {}
    for file in (place / "switchyard.sqlite3", place / "checkpoints.sqlite3"):
        with closing(sqlite3.connect(file)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}
                if columns.intersection(_COLUMNS):
                    held[name] = int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])
    return {name: count for name, count in held.items() if count}

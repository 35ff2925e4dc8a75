"""Servers with two tenants, one on each database, and what their databases hold of a tenant."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.live import INHERITED, ROOT, LiveServer

CONFIG = Path(__file__).parent / "project" / "langgraph.json"
# Rows that belong to a workspace through another row: column, and the table and column that it names.
_THROUGH = {
    "assistants_assistantversion": ("assistant_id", "assistants_assistant", "assistant_id"),
    "runs_runattempt": ("run_id", "runs_run", "sequence"),
    "runs_runspan": ("run_id", "runs_run", "sequence"),
    "crons_crontick": ("cron_id", "crons_cron", "cron_id"),
    "webhooks_webhookattempt": ("delivery_id", "webhooks_webhookdelivery", "id"),
}
_OF_THREADS = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "writes", "replaced_writes")
# Ticks of clocks, which no request causes.
_VOLATILE = {"last_used_at", "lease_expires_at", "alive_until", "patient_until"}
_NOT_TENANTS = ("django_", "sqlite_", "auth_", "checkpoint_migrations", "store_migrations", "vector_migrations")

Rows = dict[str, list[str]]


@dataclass
class Place:
    """A server in `AUTH=keys` and the way into its database."""

    server: LiveServer
    environment: dict[str, str]
    # Keys and ids of both workspaces, see `helper.make`.
    tenants: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def help(self, *arguments: str) -> Any:
        """Run `tests.tenants.helper` on the database of the server."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment = {**inherited, "DJANGO_SETTINGS_MODULE": "platform_site.settings", **self.environment}
        done = subprocess.run(
            [sys.executable, "-m", "tests.tenants.helper", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table."""
        if url := self.environment.get("DATABASE_URL"):
            with psycopg.connect(url, row_factory=dict_row) as connection:
                names = connection.execute(
                    "SELECT table_name FROM information_schema.tables"
                    " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
                ).fetchall()
                return {row["table_name"]: connection.execute(f'SELECT * FROM "{row["table_name"]}"').fetchall()
                        for row in names}  # fmt: skip
        found: dict[str, list[dict[str, Any]]] = {}
        for file in sorted(Path(self.environment["DATA_DIR"]).glob("*.sqlite3")):
            with closing(sqlite3.connect(file)) as connection:
                connection.row_factory = sqlite3.Row
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (name,) in tables:
                    rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                    found[name] = [dict(row) for row in rows]
        return found

    def rows_of(self, slug: str) -> Rows:
        """All rows of a workspace, its checkpoints and items included, as texts that can be compared and searched."""
        tables, own = self.tables(), self.tenants[slug]["id"]
        mine = {name: [row for row in rows if row.get("workspace_id") == own] for name, rows in tables.items()}
        threads = {_plain(row["thread_id"]) for row in mine["threads_thread"]}
        for name, (column, other, key) in _THROUGH.items():
            keys = {row[key] for row in mine[other]}
            mine[name] = [row for row in tables[name] if row[column] in keys]
        for name in _OF_THREADS:
            mine[name] = [row for row in tables.get(name, ()) if _plain(row["thread_id"]) in threads]
        for name in ("store", "store_vectors"):
            mine[name] = [row for row in tables.get(name, ()) if str(row["prefix"]).partition(".")[0] == str(own)]
        return {name: _texts(rows) for name, rows in mine.items() if rows}

    def everything(self) -> Rows:
        """All rows of all tables, but what only the clock changes."""
        return {name: _texts(rows) for name, rows in self.tables().items() if not name.startswith(_NOT_TENANTS)}


def _plain(value: Any) -> str:
    return str(value).replace("-", "")


def _texts(rows: list[dict[str, Any]]) -> list[str]:
    kept = ({name: value for name, value in row.items() if name not in _VOLATILE} for row in rows)
    return sorted(str(row) for row in kept)


def digest(rows: Rows) -> dict[str, str]:
    """One word for the rows of each table."""
    return {name: hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] for name, texts in rows.items()}


def changes(before: Rows, after: Rows) -> dict[str, list[str]]:
    """The rows that are there only before or only after."""
    found = {}
    for name in before.keys() | after.keys():
        old, new = set(before.get(name, ())), set(after.get(name, ()))
        if old != new:
            found[name] = [f"- {row[:600]}" for row in old - new] + [f"+ {row[:600]}" for row in new - old]
    return found

"""The spy on the SQL of savers and stores: every statement names the thread, or the namespace, whose rows it wants.

Which thread that may be is the other spies' matter. Here a statement is judged by its text alone, whoever asks.
"""

import re
import sqlite3
from functools import lru_cache
from typing import Any

import psycopg

from tests.spies.exceptions import OF_TESTS, UNBOUND_RAW
from tests.spies.violations import report, told_by

_CHECKPOINTS = r"checkpoints|writes|replaced_writes|checkpoint_writes|checkpoint_blobs|checkpoint_writes_replaced"
_READS = re.compile(rf'\b(?:FROM|JOIN|UPDATE)\s+"?({_CHECKPOINTS}|store|store_vectors)"?(?![\w.])', re.I)
_THREAD = re.compile(
    r"\bthread_id\s*(?:=|IN\b|<|>)|\(\s*thread_id\s*,[^()]*\)\s*(?:=|IN\b)|USING\s*\([^)]*thread_id", re.I
)
_NAMESPACE = re.compile(r"\bprefix\b", re.I)
_FILES = ("checkpoints.sqlite3", "store.sqlite3")


@lru_cache(maxsize=4096)
def is_bound(sql: str) -> bool:
    """Whether a statement says whose rows it wants."""
    tables = {name.lower() for name in _READS.findall(sql)}
    if not tables or sql.lstrip()[:6].upper() in ("CREATE", "ALTER ", "PRAGMA"):
        return True
    of_store = tables & {"store", "store_vectors"}
    conditions = sql[max(sql.upper().find("WHERE"), 0) :] if "WHERE" in sql.upper() else ""
    if of_store and not _NAMESPACE.search(conditions):
        return False
    return not tables - of_store or _THREAD.search(sql) is not None


def judge(sql: Any) -> None:
    """Report a statement that is not bound, unless its code may do so."""
    if isinstance(sql, str) and not is_bound(sql):
        code = told_by()
        if not OF_TESTS.issuperset(code) and UNBOUND_RAW.keys().isdisjoint(code):
            report(f"a saver's or store's SQL of {' < '.join(code[:4])} names no thread or namespace: {sql[:400]}")


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, *args: Any) -> Any:
        judge(sql)
        return super().execute(sql, *args)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, *args: Any) -> Any:
        judge(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        judge(sql)
        return super().executemany(sql, *args)


def install() -> None:
    """Watch the files of checkpoints and items, and LangGraph's connections to PostgreSQL."""
    connect = sqlite3.connect

    def watched(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        if str(database).endswith(_FILES) and len(args) < 5:
            options.setdefault("factory", _Connection)
        return connect(database, *args, **options)

    sqlite3.connect = watched  # type: ignore[assignment]
    execute = psycopg.AsyncCursor.execute

    async def executed(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        judge(query)
        return await execute(self, query, *args, **options)

    psycopg.AsyncCursor.execute = executed  # type: ignore[method-assign]

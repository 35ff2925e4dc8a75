"""The table of terms that SQLite's thread search asks, and the triggers that keep it.

SQLite drops the triggers of a table when a migration makes the table anew, which it does for most changes of a column.
So the triggers are made again after every migration.
"""

from typing import Any

from django.apps import AppConfig
from django.db import connections, transaction

from threads.search import TERM_OF_JSON_EACH

_TABLE = "threads_thread"
_INSERT = "INSERT OR IGNORE INTO threads_metadata_term (key, value, thread_id)"
_NEW_TERMS = f"""
    {_INSERT} SELECT j.key, {TERM_OF_JSON_EACH}, NEW.thread_id FROM json_each(NEW.metadata) j
    WHERE j.type NOT IN ('object', 'array');
"""
_ALL_TERMS = f"""
    {_INSERT} SELECT j.key, {TERM_OF_JSON_EACH}, t.thread_id FROM threads_thread t, json_each(t.metadata) j
    WHERE j.type NOT IN ('object', 'array')
"""
# Name to what stands behind `CREATE TRIGGER <name>`.
TRIGGERS = {
    "threads_terms_insert": f"AFTER INSERT ON {_TABLE} BEGIN {_NEW_TERMS} END",
    "threads_terms_update": f"""
        AFTER UPDATE OF metadata ON {_TABLE} WHEN OLD.metadata IS NOT NEW.metadata BEGIN
            DELETE FROM threads_metadata_term WHERE thread_id = NEW.thread_id;
            {_NEW_TERMS}
        END
    """,
    "threads_terms_delete": f"""
        AFTER DELETE ON {_TABLE} BEGIN DELETE FROM threads_metadata_term WHERE thread_id = OLD.thread_id; END
    """,
}


def after_migrate(sender: AppConfig, using: str = "default", **_: Any) -> None:
    """Make the triggers that are missing, and with them the terms of all threads: nobody knows since when they were."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [_TABLE])
        missing = TRIGGERS.keys() - {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'threads_metadata_term'")
        # An app that is migrated to before 0002 has no table of terms.
        if not missing or cursor.fetchone() is None:
            return
        with transaction.atomic(using=using):
            for name in missing:
                cursor.execute(f"CREATE TRIGGER {name} {TRIGGERS[name]}")
            cursor.execute("DELETE FROM threads_metadata_term")
            cursor.execute(_ALL_TERMS)

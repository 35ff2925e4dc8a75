"""Index thread metadata for containment search: GIN on PostgreSQL, a table of terms kept by triggers on SQLite.

A term is one top-level key with a scalar value, tagged by type so that "1" and 1 differ. Deeper values are found by
`json_covers` over what the terms leave.
"""

from django.db import migrations

from threads.search import TERM_OF_JSON_EACH

_TERMS = f"""
    INSERT OR IGNORE INTO threads_metadata_term (key, value, thread_id)
    SELECT j.key, {TERM_OF_JSON_EACH}, NEW.thread_id FROM json_each(NEW.metadata) j WHERE j.type NOT IN ('object', 'array');
"""

SQLITE = [
    """
    CREATE TABLE threads_metadata_term (
        key TEXT NOT NULL, value TEXT NOT NULL, thread_id CHAR(32) NOT NULL, PRIMARY KEY (key, value, thread_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX threads_metadata_term_thread ON threads_metadata_term (thread_id)",
    f"CREATE TRIGGER threads_terms_insert AFTER INSERT ON threads_thread BEGIN {_TERMS} END",
    f"""
    CREATE TRIGGER threads_terms_update AFTER UPDATE OF metadata ON threads_thread
    WHEN OLD.metadata IS NOT NEW.metadata BEGIN
        DELETE FROM threads_metadata_term WHERE thread_id = NEW.thread_id;
        {_TERMS}
    END
    """,
    """
    CREATE TRIGGER threads_terms_delete AFTER DELETE ON threads_thread BEGIN
        DELETE FROM threads_metadata_term WHERE thread_id = OLD.thread_id;
    END
    """,
]
POSTGRES = [
    "CREATE INDEX threads_metadata_gin ON threads_thread USING gin (metadata jsonb_path_ops)",
    'CREATE INDEX threads_values_gin ON threads_thread USING gin ("values" jsonb_path_ops)',
]


def create(apps, schema_editor):
    for statement in POSTGRES if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        names = ["INDEX threads_metadata_gin", "INDEX threads_values_gin"]
    else:
        names = [f"TRIGGER threads_terms_{event}" for event in ("insert", "update", "delete")]
        names.append("TABLE threads_metadata_term")
    for name in names:
        schema_editor.execute(f"DROP {name}")


class Migration(migrations.Migration):
    dependencies = [("threads", "0001_initial")]
    operations = [migrations.RunPython(create, drop)]

"""Index thread metadata for containment search: GIN on PostgreSQL, a table of terms kept by triggers on SQLite.

A term is one top-level key with a scalar value, tagged by type so that "1" and 1 differ. Deeper values are found by
`json_covers` over what the terms leave.
"""

from django.db import migrations

from threads.search_terms import TRIGGERS

SQLITE = [
    """
    CREATE TABLE threads_metadata_term (
        key TEXT NOT NULL, value TEXT NOT NULL, thread_id CHAR(32) NOT NULL, PRIMARY KEY (key, value, thread_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX threads_metadata_term_thread ON threads_metadata_term (thread_id)",
    *(f"CREATE TRIGGER {name} {definition}" for name, definition in TRIGGERS.items()),
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

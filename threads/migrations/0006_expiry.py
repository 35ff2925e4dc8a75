"""Only threads that have an end, or are hidden, are looked for by it: the others pay for no index."""

from django.db import migrations, models
from django.db.models import Q


def drop_full_index(apps, schema_editor):
    # Not by altering the field: SQLite would make the table anew, without the triggers of 0002.
    with schema_editor.connection.cursor() as cursor:
        found = schema_editor.connection.introspection.get_constraints(cursor, "threads_thread")
    for name, constraint in found.items():
        if constraint["index"] and constraint["columns"] == ["expires_at"]:
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


class Migration(migrations.Migration):
    dependencies = [("threads", "0005_state_updated")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="thread", name="expires_at", field=models.DateTimeField(blank=True, null=True)
                ),
            ],
            database_operations=[migrations.RunPython(drop_full_index, migrations.RunPython.noop)],
        ),
        migrations.AddIndex(
            model_name="thread",
            index=models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="thread_expiry"),
        ),
        migrations.AddIndex(
            model_name="thread",
            index=models.Index(fields=["created_at"], condition=Q(ephemeral=True), name="thread_hidden"),
        ),
    ]

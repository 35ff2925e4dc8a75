"""A deleted thread has no workspace: nobody sees it while its rows go, a portion at a time."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial"), ("threads", "0007_editor")]

    operations = [
        migrations.AlterField(
            model_name="thread",
            name="workspace",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="threads",
                to="access.workspace",
            ),
        ),
    ]

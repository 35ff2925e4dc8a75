from django.db import migrations

import platform_site.core.database.access


class Migration(migrations.Migration):
    dependencies = [("runs", "0002_run_hidden")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="stopped_before",
            field=platform_site.core.database.access.JSONField(blank=True, null=True),
        ),
    ]

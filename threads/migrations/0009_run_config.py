"""A thread keeps two facts of its last run: the configuration, and the keys of its values that clients see."""

from django.db import migrations

from platform_site.core.database.access import JSONField


class Migration(migrations.Migration):
    dependencies = [("threads", "0008_deleted")]

    operations = [
        migrations.AddField("thread", "run_config", JSONField(blank=True, null=True)),
        migrations.AddField("thread", "output_keys", JSONField(blank=True, null=True)),
    ]

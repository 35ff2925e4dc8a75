"""A thread keeps the configuration of its last run: its state is read with it."""

from django.db import migrations

from platform_site.core.database import JSONField


class Migration(migrations.Migration):
    dependencies = [("threads", "0008_deleted")]

    operations = [migrations.AddField("thread", "run_config", JSONField(blank=True, null=True))]

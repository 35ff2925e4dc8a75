from django.db import migrations

import platform_site.core.database.access


class Migration(migrations.Migration):
    dependencies = [("threads", "0003_settled_status")]

    operations = [
        migrations.AddField(
            model_name="thread",
            name="messages",
            field=platform_site.core.database.access.JSONField(blank=True, null=True),
        ),
    ]

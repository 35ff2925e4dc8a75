from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("threads", "0002_search_metadata")]

    operations = [
        migrations.AddField(
            model_name="thread",
            name="settled_status",
            field=models.CharField(
                blank=True,
                choices=[("idle", "Idle"), ("busy", "Busy"), ("interrupted", "Interrupted"), ("error", "Error")],
                max_length=12,
                null=True,
            ),
        ),
    ]

"""Who changes a thread's state by hand, and until when nobody else may."""

from django.db import migrations, models


class Migration(migrations.Migration):
    # Null, not empty: SQLite adds such a column without making the table anew, which would cost the triggers of 0002.
    dependencies = [("threads", "0006_expiry")]

    operations = [
        migrations.AddField("thread", "editor", models.CharField(blank=True, max_length=32, null=True)),
        migrations.AddField("thread", "edited_until", models.DateTimeField(blank=True, null=True)),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("threads", "0004_messages")]

    operations = [
        migrations.AddIndex(
            model_name="thread",
            index=models.Index(fields=["workspace", "-state_updated_at"], name="thread_state_updated"),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("cancel_action", "rollback")), fields=["sequence"], name="run_hidden"
            ),
        ),
    ]

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).with_name("sql")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
    ]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(verbose_name="time")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("added", "Added"),
                            ("changed", "Changed"),
                            ("deleted", "Deleted"),
                            ("found", "Initial"),
                        ],
                        max_length=10,
                        verbose_name="event",
                    ),
                ),
                ("model", models.CharField(max_length=100, verbose_name="object type")),
                ("object_id", models.CharField(max_length=100)),
                ("actor", models.CharField(max_length=300, verbose_name="user")),
                ("event", models.CharField(max_length=100)),
                ("event_id", models.BigIntegerField()),
            ],
            options={
                "db_table": "history_change",
                "ordering": ("-at", "-event_id"),
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.RunSQL((SQL / "application_role.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "history.sql").read_text(), (SQL / "history_reverse.sql").read_text()),
    ]

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models

GRANULARITIES = [("hour", "Hour"), ("day", "Day")]
CUTS = [
    ("hub", "Hub"),
    ("provider", "Provider"),
    ("model", "Model"),
    ("application", "Application"),
    ("error", "Error"),
]
STATUSES = [
    ("started", "Started"),
    ("succeeded", "Succeeded"),
    ("failed", "Failed"),
    ("rejected", "Rejected"),
    ("truncated", "Truncated"),
    ("client_disconnected", "Client Disconnected"),
    ("lost", "Lost"),
]


class Migration(migrations.Migration):
    dependencies = [("chat", "0004_history_indexes")]

    operations = [
        migrations.CreateModel(
            name="UsageRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("granularity", models.CharField(choices=GRANULARITIES)),
                ("cut", models.CharField(choices=CUTS)),
                ("at", models.DateTimeField()),
                ("provider", models.CharField(blank=True)),
                ("model_name", models.CharField(blank=True)),
                ("application", models.CharField(blank=True)),
                ("actor", models.CharField(blank=True)),
                ("status", models.CharField(choices=STATUSES)),
                ("error_type", models.CharField(blank=True)),
                ("error_code", models.CharField(blank=True)),
                ("chats", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
                ("cost_nano_usd", models.BigIntegerField()),
                ("unpriced_chats", models.BigIntegerField()),
                (
                    "latency_counts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=29),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["granularity", "cut", "at"], name="rollup_by_time")],
            },
        ),
        migrations.CreateModel(
            name="RolledBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("granularity", models.CharField(choices=GRANULARITIES)),
                ("at", models.DateTimeField()),
                ("rolled_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("granularity", "at"), name="rolled_bucket_is_one"),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="chat",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["started_at"], name="chat_by_start", pages_per_range=32
            ),
        ),
    ]

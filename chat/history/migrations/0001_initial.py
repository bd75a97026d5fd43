import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.expressions
from django.db import migrations, models

# The planner does not look at the statistics of a partial index for what it is an expression of.
STATISTICS = """
    CREATE STATISTICS chat_tokens ON (prompt_tokens + completion_tokens) FROM chat_chat;
    ANALYZE chat_chat;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Chat",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("rejected", "Rejected"),
                            ("truncated", "Truncated"),
                            ("client_disconnected", "Disconnected"),
                            ("lost", "Lost"),
                        ],
                        default="started",
                    ),
                ),
                ("application", models.CharField(blank=True)),
                ("api_key", models.CharField(blank=True, help_text="The key's prefix.", verbose_name="API key")),
                ("actor", models.CharField(blank=True, help_text="The admin user who chatted without a key.")),
                ("end_user", models.CharField(blank=True)),
                ("conversation", models.CharField(blank=True)),
                ("address", models.CharField(blank=True)),
                ("dialect", models.CharField(blank=True)),
                ("is_stream", models.BooleanField(default=False, verbose_name="streamed")),
                ("asked_provider", models.CharField(blank=True)),
                ("asked_model", models.CharField(blank=True)),
                ("provider", models.CharField(blank=True)),
                ("model_name", models.CharField(blank=True, verbose_name="model")),
                ("attempts", models.JSONField(default=list)),
                ("prompt_tokens", models.BigIntegerField(null=True)),
                ("completion_tokens", models.BigIntegerField(null=True)),
                ("cached_tokens", models.BigIntegerField(null=True)),
                ("reasoning_tokens", models.BigIntegerField(null=True)),
                ("usage_source", models.CharField(blank=True)),
                ("cost_nano_usd", models.BigIntegerField(null=True)),
                ("finish_reason", models.CharField(blank=True)),
                ("native_finish_reason", models.CharField(blank=True)),
                ("error_type", models.CharField(blank=True)),
                ("error_code", models.CharField(blank=True)),
                ("http_status", models.IntegerField(null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("latency_ms", models.BigIntegerField(null=True)),
                ("first_token_ms", models.BigIntegerField(null=True)),
                ("overhead_us", models.BigIntegerField(null=True)),
                ("writer_id", models.UUIDField()),
                ("intent_id", models.UUIDField()),
                ("outcome_id", models.UUIDField(null=True)),
            ],
            options={
                "ordering": ("-id",),
                "permissions": (("use_chat", "Can chat through the hub"),),
                "indexes": [
                    models.Index(fields=["application", "id"], name="chat_by_application"),
                    models.Index(
                        condition=models.Q(("provider", ""), _negated=True),
                        fields=["provider", "id"],
                        name="chat_by_provider",
                    ),
                    models.Index(
                        condition=models.Q(("model_name", ""), _negated=True),
                        fields=["model_name", "id"],
                        name="chat_by_model",
                    ),
                    models.Index(
                        condition=models.Q(("end_user", ""), _negated=True),
                        fields=["end_user", "id"],
                        name="chat_by_end_user",
                    ),
                    models.Index(
                        condition=models.Q(("conversation", ""), _negated=True),
                        fields=["conversation", "id"],
                        name="chat_by_conversation",
                    ),
                    models.Index(
                        condition=models.Q(("api_key", ""), _negated=True),
                        fields=["api_key", "id"],
                        name="chat_by_api_key",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ("started", "succeeded")), _negated=True),
                        fields=["status", "id"],
                        name="chat_by_status",
                    ),
                    models.Index(
                        condition=models.Q(("error_type", ""), _negated=True),
                        fields=["error_type", "id"],
                        name="chat_by_error",
                    ),
                    models.Index(
                        condition=models.Q(("error_code", ""), _negated=True),
                        fields=["error_code", "id"],
                        name="chat_by_error_code",
                    ),
                    models.Index(
                        condition=models.Q(("actor", ""), _negated=True), fields=["actor", "id"], name="chat_by_actor"
                    ),
                    models.Index(
                        condition=models.Q(("cost_nano_usd__isnull", False)),
                        fields=["cost_nano_usd"],
                        name="chat_by_cost",
                    ),
                    models.Index(
                        django.db.models.expressions.CombinedExpression(
                            models.F("prompt_tokens"), "+", models.F("completion_tokens")
                        ),
                        condition=models.Q(("prompt_tokens__isnull", False)),
                        name="chat_by_tokens",
                    ),
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["started_at"], name="chat_by_start", pages_per_range=32
                    ),
                    models.Index(condition=models.Q(("status", "started")), fields=["started_at"], name="chat_open"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "started",
                                    "succeeded",
                                    "failed",
                                    "rejected",
                                    "truncated",
                                    "client_disconnected",
                                    "lost",
                                ],
                            )
                        ),
                        name="chat_status_is_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RolledBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("granularity", models.CharField(choices=[("hour", "Hour"), ("day", "Day")])),
                ("at", models.DateTimeField()),
                ("rolled_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("granularity", "at"), name="rolled_bucket_is_one")],
            },
        ),
        migrations.CreateModel(
            name="UsageRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("granularity", models.CharField(choices=[("hour", "Hour"), ("day", "Day")])),
                (
                    "cut",
                    models.CharField(
                        choices=[
                            ("hub", "Hub"),
                            ("provider", "Provider"),
                            ("model", "Model"),
                            ("application", "Application"),
                            ("error", "Error"),
                        ]
                    ),
                ),
                ("at", models.DateTimeField()),
                ("provider", models.CharField(blank=True)),
                ("model_name", models.CharField(blank=True)),
                ("application", models.CharField(blank=True)),
                ("actor", models.CharField(blank=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("rejected", "Rejected"),
                            ("truncated", "Truncated"),
                            ("client_disconnected", "Disconnected"),
                            ("lost", "Lost"),
                        ]
                    ),
                ),
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
        migrations.RunSQL(STATISTICS, "DROP STATISTICS chat_tokens"),
    ]

from pathlib import Path

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import pghistory.utils
from django.db import migrations, models

import llmhub.access.secrets

SQL = Path(__file__).with_name("sql")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("history", "0001_initial"),
        ("access", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConnectionTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("actor", models.CharField(max_length=200, verbose_name="user")),
                ("address", models.CharField(blank=True, max_length=100, verbose_name="client address")),
                (
                    "through",
                    models.CharField(
                        choices=[("form", "Test connection"), ("check", "Check now"), ("api", "API")],
                        max_length=10,
                        verbose_name="source",
                    ),
                ),
                ("provider", models.CharField(blank=True, max_length=100)),
                ("provider_type", models.CharField(max_length=20, verbose_name="type")),
                ("base_url", models.CharField(max_length=500, verbose_name="base URL")),
                (
                    "key",
                    models.CharField(
                        choices=[
                            ("stored", "stored"),
                            ("entered", "entered"),
                            ("none", "none"),
                        ],
                        max_length=10,
                        verbose_name="API key",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConnectionTestOutcome",
            fields=[
                (
                    "test",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="outcome",
                        serialize=False,
                        to="providers.connectiontest",
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ok", models.BooleanField()),
                ("words", models.TextField(blank=True, verbose_name="details")),
            ],
            options={
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ProviderConfig",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="Used by callers, e.g. <code>openai</code>; its models are <code>openai/gpt-6-luna</code>.",
                        max_length=100,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]*$", "Use lower-case letters, digits, dots and dashes."
                            )
                        ],
                    ),
                ),
                (
                    "provider_type",
                    models.CharField(
                        choices=[
                            ("ollama", "ollama"),
                            ("openai", "openai"),
                            ("anthropic", "anthropic"),
                            ("google", "google"),
                            ("mistral", "mistral"),
                            ("custom", "custom"),
                        ],
                        max_length=20,
                        verbose_name="type",
                    ),
                ),
                ("api_key", llmhub.access.secrets.SecretField(blank=True, default="", verbose_name="API key")),
                ("api_key_set_at", models.DateTimeField(editable=False, null=True, verbose_name="API key set")),
                (
                    "base_url",
                    models.CharField(
                        blank=True,
                        help_text="Empty: the type's default URL. Required for custom providers, e.g. <code>http://vllm.internal:8000/v1</code>.",
                        max_length=500,
                        verbose_name="base URL",
                    ),
                ),
                (
                    "default_model",
                    models.CharField(
                        blank=True,
                        help_text="The model for chats without a model, e.g. <code>llama3.2</code>.",
                        max_length=200,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("is_default", models.BooleanField(default=False, editable=False, verbose_name="default")),
                (
                    "priority",
                    models.PositiveIntegerField(default=100, help_text="Order of failover: lower is tried earlier."),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Requests per minute; empty: no limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "timeout",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Seconds without data before a request times out.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3600),
                        ],
                    ),
                ),
                (
                    "settings",
                    models.JSONField(
                        blank=True, default=dict, help_text="Settings of the type; see the documentation."
                    ),
                ),
                (
                    "health",
                    models.CharField(
                        choices=[
                            ("unknown", "Not checked"),
                            ("healthy", "Healthy"),
                            ("degraded", "Degraded"),
                            ("unhealthy", "Unhealthy"),
                        ],
                        default="unknown",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("health_changed_at", models.DateTimeField(editable=False, null=True)),
                ("last_checked_at", models.DateTimeField(editable=False, null=True)),
                ("last_error", models.TextField(blank=True, editable=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "provider",
                "ordering": ("priority", "name"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)), fields=("is_default",), name="providers_one_default"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                (
                    "capabilities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), blank=True, default=list, size=None
                    ),
                ),
                (
                    "context_window",
                    models.PositiveIntegerField(blank=True, help_text="Tokens; empty: unknown.", null=True),
                ),
                ("max_output_tokens", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "input_usd_per_mtok",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="USD per million tokens; empty: unknown.",
                        max_digits=14,
                        null=True,
                        verbose_name="input price",
                    ),
                ),
                (
                    "output_usd_per_mtok",
                    models.DecimalField(
                        blank=True, decimal_places=6, max_digits=14, null=True, verbose_name="output price"
                    ),
                ),
                (
                    "cached_input_usd_per_mtok",
                    models.DecimalField(
                        blank=True, decimal_places=6, max_digits=14, null=True, verbose_name="cached input price"
                    ),
                ),
                ("listed", models.BooleanField(default=True, editable=False)),
                (
                    "allowed",
                    models.BooleanField(
                        default=True,
                        help_text="If disabled, chats with it are refused under any name; refreshes keep this.",
                        verbose_name="enabled",
                    ),
                ),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="models",
                        to="providers.providerconfig",
                    ),
                ),
            ],
            options={
                "verbose_name": "model",
                "ordering": ("provider__name", "name"),
            },
        ),
        migrations.CreateModel(
            name="ProviderModelEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_session", models.JSONField(null=True)),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=200)),
                (
                    "capabilities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), blank=True, default=list, size=None
                    ),
                ),
                (
                    "context_window",
                    models.PositiveIntegerField(blank=True, help_text="Tokens; empty: unknown.", null=True),
                ),
                ("max_output_tokens", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "input_usd_per_mtok",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="USD per million tokens; empty: unknown.",
                        max_digits=14,
                        null=True,
                        verbose_name="input price",
                    ),
                ),
                (
                    "output_usd_per_mtok",
                    models.DecimalField(
                        blank=True, decimal_places=6, max_digits=14, null=True, verbose_name="output price"
                    ),
                ),
                (
                    "cached_input_usd_per_mtok",
                    models.DecimalField(
                        blank=True, decimal_places=6, max_digits=14, null=True, verbose_name="cached input price"
                    ),
                ),
                (
                    "allowed",
                    models.BooleanField(
                        default=True,
                        help_text="If disabled, chats with it are refused under any name; refreshes keep this.",
                        verbose_name="enabled",
                    ),
                ),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="providers.providermodel",
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="providers.providerconfig",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="HealthCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("ok", models.BooleanField()),
                ("latency_ms", models.PositiveIntegerField()),
                ("error", models.TextField(blank=True)),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="health_checks",
                        to="providers.providerconfig",
                    ),
                ),
            ],
            options={
                "ordering": ("-at",),
                "indexes": [
                    models.Index(fields=["provider", "-at"], name="providers_check_latest"),
                    models.Index(fields=["at"], name="providers_check_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderConfigEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_session", models.JSONField(null=True)),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.BigIntegerField()),
                (
                    "name",
                    models.CharField(
                        help_text="Used by callers, e.g. <code>openai</code>; its models are <code>openai/gpt-6-luna</code>.",
                        max_length=100,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]*$", "Use lower-case letters, digits, dots and dashes."
                            )
                        ],
                    ),
                ),
                (
                    "provider_type",
                    models.CharField(
                        choices=[
                            ("ollama", "ollama"),
                            ("openai", "openai"),
                            ("anthropic", "anthropic"),
                            ("google", "google"),
                            ("mistral", "mistral"),
                            ("custom", "custom"),
                        ],
                        max_length=20,
                        verbose_name="type",
                    ),
                ),
                ("api_key_set_at", models.DateTimeField(editable=False, null=True, verbose_name="API key set")),
                (
                    "base_url",
                    models.CharField(
                        blank=True,
                        help_text="Empty: the type's default URL. Required for custom providers, e.g. <code>http://vllm.internal:8000/v1</code>.",
                        max_length=500,
                        verbose_name="base URL",
                    ),
                ),
                (
                    "default_model",
                    models.CharField(
                        blank=True,
                        help_text="The model for chats without a model, e.g. <code>llama3.2</code>.",
                        max_length=200,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("is_default", models.BooleanField(default=False, editable=False, verbose_name="default")),
                (
                    "priority",
                    models.PositiveIntegerField(default=100, help_text="Order of failover: lower is tried earlier."),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Requests per minute; empty: no limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "timeout",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Seconds without data before a request times out.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3600),
                        ],
                    ),
                ),
                (
                    "settings",
                    models.JSONField(
                        blank=True, default=dict, help_text="Settings of the type; see the documentation."
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="providers.providerconfig",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
                "indexes": [models.Index(fields=["pgh_created_at", "pgh_id"], name="providers_p_pgh_cre_7c70dd_idx")],
            },
        ),
        migrations.AddConstraint(
            model_name="providermodel",
            constraint=models.UniqueConstraint(fields=("provider", "name"), name="providers_model_once"),
        ),
        migrations.AddIndex(
            model_name="providermodelevent",
            index=models.Index(fields=["pgh_created_at", "pgh_id"], name="providers_p_pgh_cre_959905_idx"),
        ),
        migrations.RunSQL((SQL / "announce_changes.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL(
            (SQL / "default_provider.sql").read_text(), "DROP FUNCTION llmhub_promote_default_provider() CASCADE"
        ),
        migrations.RunSQL((SQL / "key_set_at.sql").read_text(), "DROP FUNCTION llmhub_note_key_set() CASCADE"),
        migrations.RunSQL(
            (SQL / "connection_tests.sql").read_text(), (SQL / "connection_tests_reverse.sql").read_text()
        ),
    ]

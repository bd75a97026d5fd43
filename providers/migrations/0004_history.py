import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import pghistory.utils
from django.db import migrations, models

from llmhub.access.history import keep_history


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0003_history"),
        ("providers", "0003_default_provider"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderConfigEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("pgh_session", models.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                (
                    "name",
                    models.CharField(
                        help_text="How callers name it, e.g. <code>openai</code>; a model there is <code>openai/gpt-6-luna</code>.",
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
                        help_text="Empty: the type's own address. Needed for a custom provider, e.g. <code>http://vllm.internal:8000/v1</code>.",
                        max_length=500,
                        verbose_name="base URL",
                    ),
                ),
                (
                    "default_model",
                    models.CharField(
                        blank=True,
                        help_text="The model for chats that name none, e.g. <code>llama3.2</code>.",
                        max_length=200,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("is_default", models.BooleanField(default=False, editable=False, verbose_name="default")),
                (
                    "priority",
                    models.PositiveIntegerField(default=100, help_text="Order of failover: lower is asked earlier."),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Requests a minute; empty: no limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "timeout",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Seconds to wait for the first byte of an answer, and between two.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3600),
                        ],
                    ),
                ),
                (
                    "settings",
                    models.JSONField(blank=True, default=dict, help_text="What this type takes besides; see the docs."),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ProviderModelEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("pgh_session", models.JSONField(null=True)),
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
                    models.PositiveIntegerField(blank=True, help_text="Tokens; empty: not known.", null=True),
                ),
                ("max_output_tokens", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "input_usd_per_mtok",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="USD per million tokens; empty: not known.",
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
                        help_text="Switched off, it is refused under whatever name it is asked for; no refresh changes that.",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="providerconfig",
            name="api_key_set_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="API key set"),
        ),
        migrations.AddField(
            model_name="providerconfigevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="providers.providerconfig",
            ),
        ),
        migrations.AddField(
            model_name="providermodelevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="providers.providermodel",
            ),
        ),
        migrations.AddField(
            model_name="providermodelevent",
            name="provider",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="providers.providerconfig",
            ),
        ),
        keep_history("providers_providerconfig", "providers_providerconfigevent"),
        keep_history("providers_providermodel", "providers_providermodelevent"),
    ]

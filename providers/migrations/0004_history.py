import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import pghistory.utils
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
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
        pgtrigger.migrations.AddTrigger(
            model_name="providerconfig",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "providers_providerconfigevent" ("api_key_set_at", "base_url", "created_at", "default_model", "enabled", "id", "is_default", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "provider_type", "rate_limit", "settings", "timeout") VALUES (NEW."api_key_set_at", NEW."base_url", NEW."created_at", NEW."default_model", NEW."enabled", NEW."id", NEW."is_default", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'insert\', NEW."id", NEW."priority", NEW."provider_type", NEW."rate_limit", NEW."settings", NEW."timeout"); RETURN NULL;',
                    hash="6265a830bd958d118826f2ee6d9868b2beaa3acc",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_547b7",
                    table="providers_providerconfig",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providerconfig",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."api_key_set_at" IS DISTINCT FROM (NEW."api_key_set_at") OR OLD."base_url" IS DISTINCT FROM (NEW."base_url") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."default_model" IS DISTINCT FROM (NEW."default_model") OR OLD."enabled" IS DISTINCT FROM (NEW."enabled") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_default" IS DISTINCT FROM (NEW."is_default") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."priority" IS DISTINCT FROM (NEW."priority") OR OLD."provider_type" IS DISTINCT FROM (NEW."provider_type") OR OLD."rate_limit" IS DISTINCT FROM (NEW."rate_limit") OR OLD."settings" IS DISTINCT FROM (NEW."settings") OR OLD."timeout" IS DISTINCT FROM (NEW."timeout"))',
                    func='INSERT INTO "providers_providerconfigevent" ("api_key_set_at", "base_url", "created_at", "default_model", "enabled", "id", "is_default", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "provider_type", "rate_limit", "settings", "timeout") VALUES (NEW."api_key_set_at", NEW."base_url", NEW."created_at", NEW."default_model", NEW."enabled", NEW."id", NEW."is_default", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'update\', NEW."id", NEW."priority", NEW."provider_type", NEW."rate_limit", NEW."settings", NEW."timeout"); RETURN NULL;',
                    hash="a26b57059bd499eb9be8d77118930bc30441cf32",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_070e9",
                    table="providers_providerconfig",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providerconfig",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "providers_providerconfigevent" ("api_key_set_at", "base_url", "created_at", "default_model", "enabled", "id", "is_default", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "provider_type", "rate_limit", "settings", "timeout") VALUES (OLD."api_key_set_at", OLD."base_url", OLD."created_at", OLD."default_model", OLD."enabled", OLD."id", OLD."is_default", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'delete\', OLD."id", OLD."priority", OLD."provider_type", OLD."rate_limit", OLD."settings", OLD."timeout"); RETURN NULL;',
                    hash="b52b3c94928453f2a86b614d794415c42f3bb49a",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_99560",
                    table="providers_providerconfig",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providermodel",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "providers_providermodelevent" ("allowed", "cached_input_usd_per_mtok", "capabilities", "context_window", "id", "input_usd_per_mtok", "max_output_tokens", "name", "output_usd_per_mtok", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "provider_id") VALUES (NEW."allowed", NEW."cached_input_usd_per_mtok", NEW."capabilities", NEW."context_window", NEW."id", NEW."input_usd_per_mtok", NEW."max_output_tokens", NEW."name", NEW."output_usd_per_mtok", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'insert\', NEW."id", NEW."provider_id"); RETURN NULL;',
                    hash="0f5f07eba47b55e49d49f60ff4035e5ae9c226ea",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_32ba3",
                    table="providers_providermodel",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providermodel",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."allowed" IS DISTINCT FROM (NEW."allowed") OR OLD."cached_input_usd_per_mtok" IS DISTINCT FROM (NEW."cached_input_usd_per_mtok") OR OLD."capabilities" IS DISTINCT FROM (NEW."capabilities") OR OLD."context_window" IS DISTINCT FROM (NEW."context_window") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."input_usd_per_mtok" IS DISTINCT FROM (NEW."input_usd_per_mtok") OR OLD."max_output_tokens" IS DISTINCT FROM (NEW."max_output_tokens") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."output_usd_per_mtok" IS DISTINCT FROM (NEW."output_usd_per_mtok") OR OLD."provider_id" IS DISTINCT FROM (NEW."provider_id"))',
                    func='INSERT INTO "providers_providermodelevent" ("allowed", "cached_input_usd_per_mtok", "capabilities", "context_window", "id", "input_usd_per_mtok", "max_output_tokens", "name", "output_usd_per_mtok", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "provider_id") VALUES (NEW."allowed", NEW."cached_input_usd_per_mtok", NEW."capabilities", NEW."context_window", NEW."id", NEW."input_usd_per_mtok", NEW."max_output_tokens", NEW."name", NEW."output_usd_per_mtok", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'update\', NEW."id", NEW."provider_id"); RETURN NULL;',
                    hash="a08e5def657d40bec95445ee36691f1d49b547a0",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_508d6",
                    table="providers_providermodel",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providermodel",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "providers_providermodelevent" ("allowed", "cached_input_usd_per_mtok", "capabilities", "context_window", "id", "input_usd_per_mtok", "max_output_tokens", "name", "output_usd_per_mtok", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "provider_id") VALUES (OLD."allowed", OLD."cached_input_usd_per_mtok", OLD."capabilities", OLD."context_window", OLD."id", OLD."input_usd_per_mtok", OLD."max_output_tokens", OLD."name", OLD."output_usd_per_mtok", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'delete\', OLD."id", OLD."provider_id"); RETURN NULL;',
                    hash="91994c0edaf5c83307972368a6ba705b24236088",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4ae4a",
                    table="providers_providermodel",
                    when="AFTER",
                ),
            ),
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
        pgtrigger.migrations.AddTrigger(
            model_name="providerconfigevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="bd0828be301d5c01bd643cee271b9d2e06611b9b",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_e7e74",
                    table="providers_providerconfigevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="providermodelevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="b54c8bf6e8c24931802a7a8c62c82cdb99623e36",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_1f615",
                    table="providers_providermodelevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]

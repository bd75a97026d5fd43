from pathlib import Path

import django.contrib.postgres.fields
import django.db.models.deletion
import pghistory.utils
from django.db import migrations, models

from llmhub.access.history import keep_history

SQL = Path(__file__).with_name("sql") / "history.sql"
NO_SQL = """
DROP FUNCTION history_let_go(regclass), history_keep(regclass, regclass, text[]), history_refuse(), history_note();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("access", "0002_announce_changes"),
    ]

    operations = [
        migrations.RunSQL(SQL.read_text(), NO_SQL),
        migrations.CreateModel(
            name="ApiKeyEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("pgh_session", models.JSONField(null=True)),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(help_text="Where it is used, e.g. <code>production</code>.", max_length=100)),
                ("prefix", models.CharField(editable=False, max_length=12)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("chat", "Chat and list models"),
                                ("providers:read", "See providers, their health and models"),
                                ("providers:write", "Register, change, check and remove providers"),
                                ("audit:read", "Read the history of the application's own chats"),
                                ("audit:read:all", "Read the history of everybody's chats"),
                            ],
                            max_length=32,
                        ),
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "allowed_providers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        help_text="Names of providers; empty allows all.",
                        size=None,
                    ),
                ),
                (
                    "allowed_models",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200),
                        blank=True,
                        default=list,
                        help_text="<code>model</code> or <code>provider/model</code>; empty allows all.",
                        size=None,
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, help_text="Empty: never.", null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ApplicationEvent",
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
                    models.SlugField(
                        db_index=False,
                        help_text="As it shall stand in the history, e.g. <code>support-bot</code>.",
                        max_length=100,
                    ),
                ),
                ("description", models.TextField(blank=True, help_text="What it does and who answers for it.")),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Switched off, all its keys are refused within a second.",
                        verbose_name="active",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="application",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="access.application",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="access.apikey",
            ),
        ),
        migrations.AddField(
            model_name="applicationevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="access.application",
            ),
        ),
        keep_history("access_application", "access_applicationevent"),
        keep_history("access_apikey", "access_apikeyevent", "digest"),
    ]

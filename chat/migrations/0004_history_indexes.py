from django.db import migrations, models

# The ledger's list by a rare kind, newest first; the intents and outcomes of chats fill every page anyway.
EVENTS_BY_KIND = """
    CREATE INDEX ledgerevent_by_kind ON chat_ledgerevent (kind, id) WHERE kind <> 'intent' AND kind <> 'outcome'
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_ledger_functions")]

    operations = [
        migrations.RemoveIndex(model_name="chat", name="chat_expensive"),
        migrations.AddIndex(
            model_name="chat",
            index=models.Index(
                fields=["error_type", "id"], name="chat_by_error", condition=models.Q(("error_type", ""), _negated=True)
            ),
        ),
        migrations.AddIndex(
            model_name="chat",
            index=models.Index(
                fields=["error_code", "id"],
                name="chat_by_error_code",
                condition=models.Q(("error_code", ""), _negated=True),
            ),
        ),
        migrations.AddIndex(
            model_name="chat",
            index=models.Index(
                fields=["actor", "id"], name="chat_by_actor", condition=models.Q(("actor", ""), _negated=True)
            ),
        ),
        migrations.AddIndex(
            model_name="chat",
            index=models.Index(
                fields=["cost_nano_usd"], name="chat_by_cost", condition=models.Q(("cost_nano_usd__isnull", False))
            ),
        ),
        migrations.AddIndex(
            model_name="chat",
            index=models.Index(
                models.F("prompt_tokens") + models.F("completion_tokens"),
                name="chat_by_tokens",
                condition=models.Q(("prompt_tokens__isnull", False)),
            ),
        ),
        migrations.RunSQL(EVENTS_BY_KIND, "DROP INDEX ledgerevent_by_kind"),
    ]

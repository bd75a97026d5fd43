from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).with_name("sql")


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_chat")]

    operations = [
        migrations.CreateModel(
            name="ChatContent",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("chat_id", models.UUIDField()),
                ("part", models.TextField(choices=[("request", "Request"), ("response", "Response")])),
                ("salt", models.BinaryField()),
                ("body", models.BinaryField()),
                ("files", models.TextField()),
                ("size_bytes", models.BigIntegerField()),
            ],
            options={
                "db_table": "chat_chatcontent",
                "ordering": ("id",),
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="LedgerEvent",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("intent", "Intent"),
                            ("outcome", "Outcome"),
                            ("void", "Void"),
                            ("heartbeat", "Heartbeat"),
                            ("read", "Read"),
                            ("search", "Search"),
                            ("export", "Export"),
                            ("review", "Review"),
                            ("redaction", "Redaction"),
                            ("hold", "Hold"),
                            ("erasure", "Erasure"),
                            ("retention", "Retention"),
                            ("config", "Config"),
                            ("key", "Key"),
                            ("restore", "Restore"),
                        ]
                    ),
                ),
                ("chat_id", models.UUIDField(null=True)),
                ("writer_id", models.UUIDField()),
                ("writer_seq", models.BigIntegerField()),
                ("header", models.BinaryField()),
                ("leaf_hash", models.BinaryField()),
            ],
            options={
                "db_table": "chat_ledgerevent",
                "ordering": ("-id",),
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="LedgerWriterSeat",
            fields=[
                ("writer_id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("role", models.TextField()),
                ("hostname", models.TextField()),
                ("pid", models.IntegerField()),
                ("started_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("last_seq", models.BigIntegerField()),
            ],
            options={
                "db_table": "chat_ledgerwriterseat",
                "ordering": ("-last_seen_at",),
                "managed": False,
            },
        ),
        migrations.RunSQL(
            (SQL / "0002_ledger_tables.sql").read_text(), (SQL / "0002_ledger_tables_reverse.sql").read_text()
        ),
    ]

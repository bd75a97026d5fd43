from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).with_name("sql")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("history", "0001_initial"),
        ("chat", "0001_initial"),
    ]

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
                "db_table": "ledger_chatcontent",
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
                "db_table": "ledger_ledgerevent",
                "ordering": ("-id",),
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="LedgerWriterRecord",
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
                "db_table": "ledger_ledgerwriterrecord",
                "ordering": ("-last_seen_at",),
                "managed": False,
            },
        ),
        migrations.RunSQL((SQL / "tables.sql").read_text(), (SQL / "tables_reverse.sql").read_text()),
        migrations.RunSQL((SQL / "functions.sql").read_text(), (SQL / "functions_reverse.sql").read_text()),
    ]

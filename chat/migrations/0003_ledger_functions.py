from pathlib import Path

from django.db import migrations

SQL = Path(__file__).with_name("sql")


class Migration(migrations.Migration):
    dependencies = [("chat", "0002_ledger_tables")]

    operations = [
        migrations.RunSQL(
            (SQL / "0003_ledger_functions.sql").read_text(), (SQL / "0003_ledger_functions_reverse.sql").read_text()
        ),
    ]

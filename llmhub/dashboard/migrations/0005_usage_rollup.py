from datetime import UTC, datetime
from typing import Any

from django.db import migrations

NAME, TASK, EVERY_S = "Sum up the chats for the dashboard", "chat.tasks.usage_rollup", 60


def add_schedule(apps: Any, schema_editor: Any) -> None:
    """Add it once; from now on it is the admins'."""
    alias = schema_editor.connection.alias
    intervals = apps.get_model("django_celery_beat", "IntervalSchedule").objects.using(alias)
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    interval = intervals.filter(every=EVERY_S, period="seconds").first()
    interval = interval or intervals.create(every=EVERY_S, period="seconds")
    tasks.get_or_create(name=NAME, defaults={"task": TASK, "interval": interval, "expire_seconds": EVERY_S})
    changes = apps.get_model("django_celery_beat", "PeriodicTasks").objects.using(alias)
    changes.update_or_create(ident=1, defaults={"last_update": datetime.now(tz=UTC)})


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0004_groups"),
        ("chat", "0005_usage_rollup"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(add_schedule, migrations.RunPython.noop)]

from datetime import UTC, datetime
from typing import Any

from django.db import migrations

NAME, TASK = "Delete expired sessions", "llmhub.dashboard.tasks.delete_expired_sessions"


def add_schedule(apps: Any, schema_editor: Any) -> None:
    """Add it once; from now on it is the admins'."""
    alias = schema_editor.connection.alias
    intervals = apps.get_model("django_celery_beat", "IntervalSchedule").objects.using(alias)
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    interval = intervals.filter(every=1, period="days").first() or intervals.create(every=1, period="days")
    tasks.get_or_create(name=NAME, defaults={"task": TASK, "interval": interval, "expire_seconds": 3600})
    changes = apps.get_model("django_celery_beat", "PeriodicTasks").objects.using(alias)
    changes.update_or_create(ident=1, defaults={"last_update": datetime.now(tz=UTC)})


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0008_newest_changes"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(add_schedule, migrations.RunPython.noop)]

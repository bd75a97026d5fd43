from datetime import UTC, datetime
from typing import Any

from django.db import migrations

SECONDS, MINUTES, HOURS, DAYS = "seconds", "minutes", "hours", "days"

SCHEDULES = [
    ("Check the health of providers", "providers.tasks.check_health", 60, SECONDS),
    ("Refresh the lists of models", "providers.tasks.refresh_models", 1, HOURS),
    ("Delete expired health checks", "providers.tasks.delete_expired_health_checks", 1, DAYS),
    ("Close chats that nobody will close", "chat.ledger.tasks.reap_open_chats", 60, SECONDS),
    ("Make the ledger's next partitions", "chat.ledger.tasks.make_partitions", 1, DAYS),
    ("Show that the worker works", "llmhub.operations.tasks.canary", 60, SECONDS),
    ("Sum up the chats for the dashboard", "chat.history.tasks.usage_rollup", 60, SECONDS),
    ("Delete expired sessions", "llmhub.operations.tasks.delete_expired_sessions", 1, DAYS),
]
SECONDS_OF = {SECONDS: 1, MINUTES: 60, HOURS: 3600, DAYS: 86_400}


def add_schedules(apps: Any, schema_editor: Any) -> None:
    """Add them once; from now on they are the admins'. A task that waited for a whole period is not worth doing."""
    alias = schema_editor.connection.alias
    intervals = apps.get_model("django_celery_beat", "IntervalSchedule").objects.using(alias)
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    for name, task, every, period in SCHEDULES:
        interval = intervals.filter(every=every, period=period).first()
        interval = interval or intervals.create(every=every, period=period)
        expire_seconds = min(every * SECONDS_OF[period], 3600)
        tasks.get_or_create(name=name, defaults={"task": task, "interval": interval, "expire_seconds": expire_seconds})
    changes = apps.get_model("django_celery_beat", "PeriodicTasks").objects.using(alias)
    changes.update_or_create(ident=1, defaults={"last_update": datetime.now(tz=UTC)})


class Migration(migrations.Migration):
    dependencies = [
        ("operations", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(add_schedules, migrations.RunPython.noop)]

from importlib import import_module
from typing import Any

from django.db import migrations

changes = import_module("llmhub.dashboard.migrations.0006_changes")
from_the_start = import_module("llmhub.dashboard.migrations.0007_history_from_the_start")
newest = import_module("llmhub.dashboard.migrations.0008_newest_changes")

ROWS = {
    "dashboard.TrackedIntervalEvent": ("django_celery_beat.IntervalSchedule", "django_celery_beat_intervalschedule"),
    "dashboard.TrackedCrontabEvent": ("django_celery_beat.CrontabSchedule", "django_celery_beat_crontabschedule"),
    "dashboard.TrackedFixedTimeEvent": ("django_celery_beat.ClockedSchedule", "django_celery_beat_clockedschedule"),
    "dashboard.TrackedSecondFactorEvent": ("mfa.Authenticator", "mfa_authenticator"),
}
TABLES = [event.replace(".", "_").lower() for event in ROWS]
VIEW = "CREATE VIEW dashboard_change AS {parts}; GRANT SELECT ON dashboard_change TO llmhub_app;"
NO_VIEW = "DROP VIEW dashboard_change;"


def _view(parts: list[str]) -> str:
    return NO_VIEW + VIEW.format(parts=" UNION ALL ".join(parts))


PARTS = [
    changes.PART.format(event=event, model=model, object_id="pgh_obj_id", kind=changes.KIND, table=table)
    for table, (event, (model, _)) in zip(TABLES, ROWS.items(), strict=True)
]


def note_what_there_was(_apps: Any, schema_editor: Any) -> None:
    """Keep each row that was there before its history began, so that its first change has something to differ from."""
    with schema_editor.connection.cursor() as cursor:
        for events, (_, rows) in zip(TABLES, ROWS.values(), strict=True):
            cursor.execute(from_the_start.COLUMNS, [events])
            cursor.execute(from_the_start.NOTE.format(events=events, rows=rows, columns=cursor.fetchone()[0]))


class Migration(migrations.Migration):
    dependencies = [("dashboard", "0010_more_history")]

    operations = [
        migrations.RunPython(note_what_there_was, migrations.RunPython.noop, elidable=True),
        migrations.RunSQL(_view([*changes.PARTS, *PARTS]), _view(changes.PARTS)),
        migrations.RunSQL(
            "".join(newest.INDEX.format(table=table) for table in TABLES),
            "".join(newest.NO_INDEX.format(table=table) for table in TABLES),
        ),
    ]

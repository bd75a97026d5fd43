from typing import Any

from django.db import migrations

EVENTS = {
    "access_application": "access_applicationevent",
    "access_apikey": "access_apikeyevent",
    "providers_providerconfig": "providers_providerconfigevent",
    "providers_providermodel": "providers_providermodelevent",
    "auth_user": "dashboard_trackeduserevent",
    "auth_group": "dashboard_trackedgroupevent",
    "django_celery_beat_periodictask": "dashboard_trackedperiodictaskevent",
}
COLUMNS = """
SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = %s AND NOT starts_with(column_name, 'pgh_')
"""
NOTE = """
INSERT INTO {events} (pgh_created_at, pgh_label, pgh_obj_id, {columns})
SELECT now(), 'found', id, {columns} FROM {rows} AS rows
WHERE NOT EXISTS (SELECT FROM {events} WHERE pgh_obj_id = rows.id)
"""


def note_what_there_was(_apps: Any, schema_editor: Any) -> None:
    """Keep each row that was there before its history began, so that its first change has something to differ from."""
    with schema_editor.connection.cursor() as cursor:
        for rows, events in EVENTS.items():
            cursor.execute(COLUMNS, [events])
            cursor.execute(NOTE.format(events=events, rows=rows, columns=cursor.fetchone()[0]))


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0006_changes"),
        ("access", "0003_history"),
        ("providers", "0004_history"),
    ]

    operations = [migrations.RunPython(note_what_there_was, migrations.RunPython.noop, elidable=True)]

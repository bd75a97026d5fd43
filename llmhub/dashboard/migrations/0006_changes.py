from django.db import migrations, models

ROWS = {
    "access.ApplicationEvent": "access.Application",
    "access.ApiKeyEvent": "access.ApiKey",
    "providers.ProviderConfigEvent": "providers.ProviderConfig",
    "providers.ProviderModelEvent": "providers.ProviderModel",
    "dashboard.TrackedUserEvent": "auth.User",
    "dashboard.TrackedGroupEvent": "auth.Group",
    "dashboard.TrackedPeriodicTaskEvent": "django_celery_beat.PeriodicTask",
}
LINKS = {
    "dashboard.TrackedUserGroupEvent": ("auth.User", "user_id"),
    "dashboard.TrackedUserPermissionEvent": ("auth.User", "user_id"),
    "dashboard.TrackedGroupPermissionEvent": ("auth.Group", "group_id"),
}
PART = """
SELECT '{event}:' || pgh_id AS id, pgh_created_at AS at, {kind} AS kind, '{model}' AS model,
  {object_id}::text AS object_id, coalesce(pgh_context ->> 'actor', '') AS actor, '{event}' AS event, pgh_id AS event_id
FROM {table}
"""
KIND = "CASE pgh_label WHEN 'insert' THEN 'added' WHEN 'delete' THEN 'deleted' WHEN 'found' THEN 'found' ELSE 'changed' END"


def _part(event: str, model: str, *, object_id: str, kind: str) -> str:
    return PART.format(event=event, model=model, object_id=object_id, kind=kind, table=event.replace(".", "_").lower())


PARTS = [
    *(_part(event, model, object_id="pgh_obj_id", kind=KIND) for event, model in ROWS.items()),
    *(_part(event, model, object_id=column, kind="'changed'") for event, (model, column) in LINKS.items()),
]
VIEW = f"CREATE VIEW dashboard_change AS {' UNION ALL '.join(PARTS)}; GRANT SELECT ON dashboard_change TO llmhub_app;"


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0005_usage_rollup"),
        ("access", "0003_history"),
        ("providers", "0004_history"),
        ("chat", "0002_ledger_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaskResult",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("finished_at", models.DateTimeField()),
                ("duration_ms", models.PositiveIntegerField()),
                ("error", models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(verbose_name="when")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("added", "Added"),
                            ("changed", "Changed"),
                            ("deleted", "Deleted"),
                            ("found", "Found as the history began"),
                        ],
                        max_length=10,
                        verbose_name="what happened",
                    ),
                ),
                ("model", models.CharField(max_length=100, verbose_name="of")),
                ("object_id", models.CharField(max_length=100)),
                ("actor", models.CharField(max_length=300, verbose_name="who")),
                ("event", models.CharField(max_length=100)),
                ("event_id", models.BigIntegerField()),
            ],
            options={
                "db_table": "dashboard_change",
                "ordering": ("-at", "-event_id"),
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.RunSQL(VIEW, "DROP VIEW dashboard_change"),
    ]

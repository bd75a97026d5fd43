from django.db import migrations

TABLES = (
    "access_applicationevent",
    "access_apikeyevent",
    "providers_providerconfigevent",
    "providers_providermodelevent",
    "dashboard_trackeduserevent",
    "dashboard_trackedgroupevent",
    "dashboard_trackedperiodictaskevent",
    "dashboard_trackedusergroupevent",
    "dashboard_trackeduserpermissionevent",
    "dashboard_trackedgrouppermissionevent",
)
# the list of all changes, the newest first: a merge of these
INDEX = "CREATE INDEX {table}_newest ON {table} (pgh_created_at, pgh_id);"
NO_INDEX = "DROP INDEX {table}_newest;"


class Migration(migrations.Migration):
    dependencies = [("dashboard", "0007_history_from_the_start")]

    operations = [
        migrations.RunSQL(
            "".join(INDEX.format(table=table) for table in TABLES),
            "".join(NO_INDEX.format(table=table) for table in TABLES),
        )
    ]

from typing import Any

from django.db import migrations

EVERYTHING = ("view", "add", "change", "delete")
LOOK = ("view",)
LOOK_AND_SWITCH = ("view", "change")

CONFIGURATION = {
    "providers.providerconfig": EVERYTHING,
    "providers.providermodel": EVERYTHING,
    "providers.healthcheck": LOOK,
    "providers.connectiontest": LOOK,
    "access.application": EVERYTHING,
    "access.apikey": ("view", "add", "change"),
}
HISTORY = {"chat.chat": LOOK, "ledger.ledgerevent": LOOK, "ledger.ledgerwriterrecord": LOOK}
SCHEDULES = {
    f"django_celery_beat.{model}": EVERYTHING
    for model in ("periodictask", "intervalschedule", "crontabschedule", "clockedschedule", "solarschedule")
}
GROUPS = {
    "Admin": {
        **CONFIGURATION,
        **HISTORY,
        **SCHEDULES,
        "auth.user": EVERYTHING,
        "auth.group": EVERYTHING,
        "chat.chat": ("view", "use"),
    },
    "Operator": {
        "providers.providerconfig": LOOK_AND_SWITCH,
        "providers.providermodel": LOOK_AND_SWITCH,
        "providers.healthcheck": LOOK,
        "providers.connectiontest": LOOK,
        "access.application": LOOK,
        "access.apikey": LOOK_AND_SWITCH,
        "ledger.ledgerwriterrecord": LOOK,
        "chat.chat": ("use",),
        "django_celery_beat.periodictask": LOOK_AND_SWITCH,
        "django_celery_beat.intervalschedule": LOOK,
        "django_celery_beat.crontabschedule": LOOK,
    },
    "Reviewer": HISTORY,
}
NAMES = {"use": "Can chat through the hub"}


def add_groups(apps: Any, schema_editor: Any) -> None:
    """Add them once, with their permissions, which Django would make only after all migrations."""
    alias = schema_editor.connection.alias
    groups = apps.get_model("auth", "Group").objects.using(alias)
    for name, granted in GROUPS.items():
        group, is_new = groups.get_or_create(name=name)
        if is_new:
            permissions = [_permission(apps, alias, model, verb) for model, verbs in granted.items() for verb in verbs]
            group.permissions.set(permissions)


def _permission(apps: Any, alias: str, model: str, verb: str) -> Any:
    types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    app_label, model_name = model.split(".")
    content_type, _ = types.get_or_create(app_label=app_label, model=model_name)
    options = apps.get_model(model)._meta
    name = NAMES.get(verb) or f"Can {verb} {options.verbose_name}"
    permission, _ = permissions.get_or_create(
        content_type=content_type, codename=f"{verb}_{model_name}", defaults={"name": name}
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("people", "0001_initial"),
        ("providers", "0001_initial"),
        ("access", "0001_initial"),
        ("chat", "0001_initial"),
        ("ledger", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(add_groups, migrations.RunPython.noop)]

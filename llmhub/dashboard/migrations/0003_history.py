import django.contrib.auth.models
import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import pghistory.utils
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("dashboard", "0002_schedules"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TrackedGroupEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                ("name", models.CharField(max_length=150, verbose_name="name")),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TrackedUser",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user",),
            managers=[
                ("objects", django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name="TrackedPeriodicTask",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("django_celery_beat.periodictask",),
        ),
        migrations.CreateModel(
            name="TrackedGroup",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.group",),
            managers=[
                ("objects", django.contrib.auth.models.GroupManager()),
            ],
        ),
        migrations.CreateModel(
            name="TrackedGroupPermission",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.group_permissions",),
        ),
        migrations.CreateModel(
            name="TrackedUserGroup",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user_groups",),
        ),
        migrations.CreateModel(
            name="TrackedUserPermission",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("auth.user_user_permissions",),
        ),
        migrations.CreateModel(
            name="TrackedGroupPermissionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                (
                    "group",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "permission",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.permission",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TrackedPeriodicTaskEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                (
                    "name",
                    models.CharField(help_text="Short Description For This Task", max_length=200, verbose_name="Name"),
                ),
                (
                    "task",
                    models.CharField(
                        help_text='The Name of the Celery Task that Should be Run.  (Example: "proj.tasks.import_contacts")',
                        max_length=200,
                        verbose_name="Task Name",
                    ),
                ),
                (
                    "args",
                    models.TextField(
                        blank=True,
                        default="[]",
                        help_text='JSON encoded positional arguments (Example: ["arg1", "arg2"])',
                        verbose_name="Positional Arguments",
                    ),
                ),
                (
                    "kwargs",
                    models.TextField(
                        blank=True,
                        default="{}",
                        help_text='JSON encoded keyword arguments (Example: {"argument": "value"})',
                        verbose_name="Keyword Arguments",
                    ),
                ),
                (
                    "queue",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Queue defined in CELERY_TASK_QUEUES. Leave None for default queuing.",
                        max_length=200,
                        null=True,
                        verbose_name="Queue Override",
                    ),
                ),
                (
                    "exchange",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Override Exchange for low-level AMQP routing",
                        max_length=200,
                        null=True,
                        verbose_name="Exchange",
                    ),
                ),
                (
                    "routing_key",
                    models.CharField(
                        blank=True,
                        default=None,
                        help_text="Override Routing Key for low-level AMQP routing",
                        max_length=200,
                        null=True,
                        verbose_name="Routing Key",
                    ),
                ),
                (
                    "headers",
                    models.TextField(
                        blank=True,
                        default="{}",
                        help_text="JSON encoded message headers for the AMQP message.",
                        verbose_name="AMQP Message Headers",
                    ),
                ),
                (
                    "priority",
                    models.PositiveIntegerField(
                        blank=True,
                        default=None,
                        help_text="Priority Number between 0 and 255. Supported by: RabbitMQ, Redis (priority reversed, 0 is highest).",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(255)],
                        verbose_name="Priority",
                    ),
                ),
                (
                    "expires",
                    models.DateTimeField(
                        blank=True,
                        help_text="Datetime after which the schedule will no longer trigger the task to run",
                        null=True,
                        verbose_name="Expires Datetime",
                    ),
                ),
                (
                    "expire_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Timedelta with seconds which the schedule will no longer trigger the task to run",
                        null=True,
                        verbose_name="Expires timedelta with seconds",
                    ),
                ),
                (
                    "one_off",
                    models.BooleanField(
                        default=False,
                        help_text="If True, the schedule will only run the task a single time",
                        verbose_name="One-off Task",
                    ),
                ),
                (
                    "start_time",
                    models.DateTimeField(
                        blank=True,
                        help_text="Datetime when the schedule should begin triggering the task to run",
                        null=True,
                        verbose_name="Start Datetime",
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True, help_text="Set to False to disable the schedule", verbose_name="Enabled"
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True,
                        help_text="Detailed description about the details of this Periodic Task",
                        verbose_name="Description",
                    ),
                ),
                (
                    "clocked",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        help_text="Clocked Schedule to run the task on.  Set only one schedule type, leave the others null.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="django_celery_beat.clockedschedule",
                        verbose_name="Clocked Schedule",
                    ),
                ),
                (
                    "crontab",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        help_text="Crontab Schedule to run the task on.  Set only one schedule type, leave the others null.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="django_celery_beat.crontabschedule",
                        verbose_name="Crontab Schedule",
                    ),
                ),
                (
                    "interval",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        help_text="Interval Schedule to run the task on.  Set only one schedule type, leave the others null.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="django_celery_beat.intervalschedule",
                        verbose_name="Interval Schedule",
                    ),
                ),
                (
                    "solar",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        help_text="Solar Schedule to run the task on.  Set only one schedule type, leave the others null.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="django_celery_beat.solarschedule",
                        verbose_name="Solar Schedule",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TrackedUserGroupEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                (
                    "group",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TrackedUserPermissionEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                (
                    "permission",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to="auth.permission",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_tablespace="",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        related_query_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TrackedUserEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("pgh_context", pghistory.utils.JSONField(null=True)),
                ("pgh_context_id", models.UUIDField(null=True)),
                ("id", models.IntegerField()),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
                (
                    "pgh_obj",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="dashboard.trackeduser",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduser",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackeduserevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'insert\', NEW."id", NEW."username"); RETURN NULL;',
                    hash="eed6513fbb0e2b688dda4e57fa73ff13eafebddb",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_7c343",
                    table="auth_user",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduser",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."date_joined" IS DISTINCT FROM (NEW."date_joined") OR OLD."email" IS DISTINCT FROM (NEW."email") OR OLD."first_name" IS DISTINCT FROM (NEW."first_name") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."is_staff" IS DISTINCT FROM (NEW."is_staff") OR OLD."is_superuser" IS DISTINCT FROM (NEW."is_superuser") OR OLD."last_name" IS DISTINCT FROM (NEW."last_name") OR OLD."username" IS DISTINCT FROM (NEW."username"))',
                    func='INSERT INTO "dashboard_trackeduserevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'update\', NEW."id", NEW."username"); RETURN NULL;',
                    hash="9adaa0a9b003584f6ee0c0944d5a504f454b0cb0",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_4e1b8",
                    table="auth_user",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduser",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackeduserevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (OLD."date_joined", OLD."email", OLD."first_name", OLD."id", OLD."is_active", OLD."is_staff", OLD."is_superuser", OLD."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'delete\', OLD."id", OLD."username"); RETURN NULL;',
                    hash="a43b0559f3f9a013d19dff55ca1e06668d52fa69",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_dc446",
                    table="auth_user",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduser",
            trigger=pgtrigger.compiler.Trigger(
                name="password_changed_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."password" IS DISTINCT FROM (NEW."password"))',
                    func='INSERT INTO "dashboard_trackeduserevent" ("date_joined", "email", "first_name", "id", "is_active", "is_staff", "is_superuser", "last_name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "username") VALUES (NEW."date_joined", NEW."email", NEW."first_name", NEW."id", NEW."is_active", NEW."is_staff", NEW."is_superuser", NEW."last_name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'password_changed\', NEW."id", NEW."username"); RETURN NULL;',
                    hash="fb7439c20fc5a16738ab1ef4ca8e8fb635b79f1e",
                    operation="UPDATE",
                    pgid="pgtrigger_password_changed_update_acec9",
                    table="auth_user",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="trackedperiodictaskevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="dashboard.trackedperiodictask",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedperiodictask",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedperiodictaskevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (NEW."args", NEW."clocked_id", NEW."crontab_id", NEW."description", NEW."enabled", NEW."exchange", NEW."expire_seconds", NEW."expires", NEW."headers", NEW."id", NEW."interval_id", NEW."kwargs", NEW."name", NEW."one_off", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'insert\', NEW."id", NEW."priority", NEW."queue", NEW."routing_key", NEW."solar_id", NEW."start_time", NEW."task"); RETURN NULL;',
                    hash="f940bdec60d043e7e836f9702892dca0d17494d5",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_d7e13",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedperiodictask",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."args" IS DISTINCT FROM (NEW."args") OR OLD."clocked_id" IS DISTINCT FROM (NEW."clocked_id") OR OLD."crontab_id" IS DISTINCT FROM (NEW."crontab_id") OR OLD."description" IS DISTINCT FROM (NEW."description") OR OLD."enabled" IS DISTINCT FROM (NEW."enabled") OR OLD."exchange" IS DISTINCT FROM (NEW."exchange") OR OLD."expire_seconds" IS DISTINCT FROM (NEW."expire_seconds") OR OLD."expires" IS DISTINCT FROM (NEW."expires") OR OLD."headers" IS DISTINCT FROM (NEW."headers") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."interval_id" IS DISTINCT FROM (NEW."interval_id") OR OLD."kwargs" IS DISTINCT FROM (NEW."kwargs") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."one_off" IS DISTINCT FROM (NEW."one_off") OR OLD."priority" IS DISTINCT FROM (NEW."priority") OR OLD."queue" IS DISTINCT FROM (NEW."queue") OR OLD."routing_key" IS DISTINCT FROM (NEW."routing_key") OR OLD."solar_id" IS DISTINCT FROM (NEW."solar_id") OR OLD."start_time" IS DISTINCT FROM (NEW."start_time") OR OLD."task" IS DISTINCT FROM (NEW."task"))',
                    func='INSERT INTO "dashboard_trackedperiodictaskevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (NEW."args", NEW."clocked_id", NEW."crontab_id", NEW."description", NEW."enabled", NEW."exchange", NEW."expire_seconds", NEW."expires", NEW."headers", NEW."id", NEW."interval_id", NEW."kwargs", NEW."name", NEW."one_off", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'update\', NEW."id", NEW."priority", NEW."queue", NEW."routing_key", NEW."solar_id", NEW."start_time", NEW."task"); RETURN NULL;',
                    hash="dab9442dde6959c40e656d1a33a6b400485f9f8b",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_d7081",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedperiodictask",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedperiodictaskevent" ("args", "clocked_id", "crontab_id", "description", "enabled", "exchange", "expire_seconds", "expires", "headers", "id", "interval_id", "kwargs", "name", "one_off", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "queue", "routing_key", "solar_id", "start_time", "task") VALUES (OLD."args", OLD."clocked_id", OLD."crontab_id", OLD."description", OLD."enabled", OLD."exchange", OLD."expire_seconds", OLD."expires", OLD."headers", OLD."id", OLD."interval_id", OLD."kwargs", OLD."name", OLD."one_off", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'delete\', OLD."id", OLD."priority", OLD."queue", OLD."routing_key", OLD."solar_id", OLD."start_time", OLD."task"); RETURN NULL;',
                    hash="691b88ec9acee2232788c87f3059b8310548fbac",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_bda73",
                    table="django_celery_beat_periodictask",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="trackedgroupevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="dashboard.trackedgroup",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgroup",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedgroupevent" ("id", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'insert\', NEW."id"); RETURN NULL;',
                    hash="aecdde837be0b2a3cba50fed7dee9d95cd45914b",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_8983b",
                    table="auth_group",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgroup",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "dashboard_trackedgroupevent" ("id", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."id", NEW."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'update\', NEW."id"); RETURN NULL;',
                    hash="84aedfec54698d70fad627298fc305fbfe515525",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_81077",
                    table="auth_group",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgroup",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedgroupevent" ("id", "name", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (OLD."id", OLD."name", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'delete\', OLD."id"); RETURN NULL;',
                    hash="6c30037b41bacf8c1fd007df46e9a10d1491d634",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_3df01",
                    table="auth_group",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgrouppermission",
            trigger=pgtrigger.compiler.Trigger(
                name="added_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedgrouppermissionevent" ("group_id", "id", "permission_id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label") VALUES (NEW."group_id", NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'added\'); RETURN NULL;',
                    hash="21bc041a6dad49ed3ca3cbb66533fee01be4d075",
                    operation="INSERT",
                    pgid="pgtrigger_added_insert_33b7b",
                    table="auth_group_permissions",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgrouppermission",
            trigger=pgtrigger.compiler.Trigger(
                name="removed_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedgrouppermissionevent" ("group_id", "id", "permission_id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label") VALUES (OLD."group_id", OLD."id", OLD."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'removed\'); RETURN NULL;',
                    hash="cea5dc873c1f8a3f8244af247a2e351855fdda6d",
                    operation="DELETE",
                    pgid="pgtrigger_removed_delete_eaf42",
                    table="auth_group_permissions",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedusergroup",
            trigger=pgtrigger.compiler.Trigger(
                name="added_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedusergroupevent" ("group_id", "id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "user_id") VALUES (NEW."group_id", NEW."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'added\', NEW."user_id"); RETURN NULL;',
                    hash="d6e66299e3095eb0a722402ceb0c0b165d44f88d",
                    operation="INSERT",
                    pgid="pgtrigger_added_insert_17c21",
                    table="auth_user_groups",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedusergroup",
            trigger=pgtrigger.compiler.Trigger(
                name="removed_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackedusergroupevent" ("group_id", "id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "user_id") VALUES (OLD."group_id", OLD."id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'removed\', OLD."user_id"); RETURN NULL;',
                    hash="aa0e98837bdba9eb4d164bad857b07fcfeaf2548",
                    operation="DELETE",
                    pgid="pgtrigger_removed_delete_6bd44",
                    table="auth_user_groups",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduserpermission",
            trigger=pgtrigger.compiler.Trigger(
                name="added_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackeduserpermissionevent" ("id", "permission_id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "user_id") VALUES (NEW."id", NEW."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'added\', NEW."user_id"); RETURN NULL;',
                    hash="6e8f03485ba11b45d5b07c450fa235ffb87ba9fe",
                    operation="INSERT",
                    pgid="pgtrigger_added_insert_e398a",
                    table="auth_user_user_permissions",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduserpermission",
            trigger=pgtrigger.compiler.Trigger(
                name="removed_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "dashboard_trackeduserpermissionevent" ("id", "permission_id", "pgh_context", "pgh_context_id", "pgh_created_at", "pgh_label", "user_id") VALUES (OLD."id", OLD."permission_id", COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_metadata\', TRUE), \'\'), NULL)::JSONB, COALESCE(NULLIF(CURRENT_SETTING(\'pghistory.context_id\', TRUE), \'\'), NULL)::UUID, NOW(), \'removed\', OLD."user_id"); RETURN NULL;',
                    hash="3b7d5bf297473363878a0da71680af509b5d5712",
                    operation="DELETE",
                    pgid="pgtrigger_removed_delete_02fbc",
                    table="auth_user_user_permissions",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgrouppermissionevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="c38676c5aec30351f10f4741fc79edce3f5c0f4d",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_d39e3",
                    table="dashboard_trackedgrouppermissionevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedusergroupevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="0c50b43a16a0a954699076c924fbb6b61dc72ba5",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_f96cb",
                    table="dashboard_trackedusergroupevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduserpermissionevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="6a8c6658e5e1c1d405931ed699330d9013b8a397",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_65e92",
                    table="dashboard_trackeduserpermissionevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackeduserevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="6fe26a62fa1bc6ac18d708f6b9cfe963400c28f8",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_37ca6",
                    table="dashboard_trackeduserevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedperiodictaskevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="9590ff9b1ecdd615522671b511fc3ce68f0dcfac",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_13132",
                    table="dashboard_trackedperiodictaskevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedgroupevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="54f49e605edf59fd448f580ba6d18927b0d3d6ae",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_58e03",
                    table="dashboard_trackedgroupevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]

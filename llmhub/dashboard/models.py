"""Signs of life of the background processes, what was once set up, and whose rows of others have a history."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth.models import Group, User
from django.db import models
from django_celery_beat.models import PeriodicTask

from llmhub.access.history import track_changes, track_links


class Part(models.TextChoices):
    """The background processes whose silence nobody would notice otherwise."""

    WORKER = "worker", "Worker"
    BEAT = "beat", "Beat"


SILENT_AFTER = {Part.WORKER: timedelta(minutes=3), Part.BEAT: timedelta(minutes=1)}


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    def beat(self, part: Part, *, now: datetime) -> None:
        self.bulk_create(
            [Heartbeat(part=part, at=now)], update_conflicts=True, unique_fields=["part"], update_fields=["at"]
        )

    def alive(self, *, now: datetime) -> set[Part]:
        """The parts heard of recently enough. Runs one query."""
        return {Part(part) for part, at in self.values_list("part", "at") if now - at < SILENT_AFTER[Part(part)]}


class Heartbeat(models.Model):
    """When a background process last showed that it works."""

    part = models.CharField(primary_key=True, max_length=10, choices=Part.choices)
    at = models.DateTimeField()

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.part} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class FirstThing(models.Model):
    """Something that `prepare` made once. Whatever has become of it, it is not made again.

    Shape: `address` is where the local model was last said to be, empty while there is none.
    """

    name = models.CharField(primary_key=True, max_length=20)
    object_id = models.BigIntegerField()
    address = models.CharField(max_length=500, blank=True)
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


@track_changes(app_label="dashboard", exclude=["last_login"], secrets=["password"])
class TrackedUser(User):
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="dashboard")
class TrackedGroup(Group):
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="dashboard")
class TrackedUserGroup(User.groups.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="dashboard")
class TrackedUserPermission(User.user_permissions.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="dashboard")
class TrackedGroupPermission(Group.permissions.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="dashboard", exclude=["last_run_at", "total_run_count", "date_changed"])
class TrackedPeriodicTask(PeriodicTask):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()

"""Heartbeats and results of background work, and records of `prepare`."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

from llmhub.history.tracking import track_changes


class Service(models.TextChoices):
    """The background processes that are monitored by heartbeat."""

    WORKER = "worker", "Worker"
    BEAT = "beat", "Beat"


SILENT_AFTER = {Service.WORKER: timedelta(minutes=3), Service.BEAT: timedelta(minutes=1)}


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    def beat(self, part: Service, *, now: datetime) -> None:
        self.bulk_create(
            [Heartbeat(part=part, at=now)], update_conflicts=True, unique_fields=["part"], update_fields=["at"]
        )

    def alive(self, *, now: datetime) -> set[Service]:
        """Return the services with a recent heartbeat. Runs one query."""
        return {Service(part) for part, at in self.values_list("part", "at") if now - at < SILENT_AFTER[Service(part)]}


class Heartbeat(models.Model):
    """The last heartbeat of a background process."""

    part = models.CharField(primary_key=True, max_length=10, choices=Service.choices)
    at = models.DateTimeField()

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.part} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class BootstrapRecord(models.Model):
    """An object that `prepare` created once, and never creates again, even if it is deleted.

    Shape: `address` is the last known URL of the local model, empty while there is none.
    """

    name = models.CharField(primary_key=True, max_length=20)
    object_id = models.BigIntegerField()
    address = models.CharField(max_length=500, blank=True)
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class TaskResultQuerySet(models.QuerySet["TaskResult"]):
    def note(self, name: str, *, started_at: datetime, finished_at: datetime, error: str = "") -> None:
        """Store the result of a periodic task's run. Shape: `error` is empty on success."""
        duration_ms = round((finished_at - started_at) / timedelta(milliseconds=1))
        values = {"finished_at": finished_at, "duration_ms": duration_ms, "error": error}
        self.bulk_create(
            [TaskResult(name=name, **values)], update_conflicts=True, unique_fields=["name"], update_fields=list(values)
        )


class TaskResult(models.Model):
    """The last result of a periodic task, by its name."""

    name = models.CharField(primary_key=True, max_length=200)
    finished_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    error = models.TextField(blank=True)

    objects = TaskResultQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name}: {self.error or 'ok'}"

    @property
    def ok(self) -> bool:
        return not self.error


@track_changes(app_label="operations", exclude=["last_run_at", "total_run_count", "date_changed"])
class TrackedPeriodicTask(PeriodicTask):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="operations")
class TrackedInterval(IntervalSchedule):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="operations")
class TrackedCrontab(CrontabSchedule):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="operations")
class TrackedFixedTime(ClockedSchedule):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()

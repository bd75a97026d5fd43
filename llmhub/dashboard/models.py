"""Signs of life of the background processes, and what was once set up."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models


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

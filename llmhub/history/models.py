"""The view over all configuration changes."""

from __future__ import annotations

from django.db import models

from llmhub.history.describe import Kind


class Change(models.Model):
    """One configuration change: a row of the view over all event tables."""

    id = models.CharField(primary_key=True, max_length=200)
    at = models.DateTimeField("time")
    kind = models.CharField("event", max_length=10, choices=Kind.choices)
    model = models.CharField("object type", max_length=100)
    object_id = models.CharField(max_length=100)
    actor = models.CharField("user", max_length=300)
    event = models.CharField(max_length=100)
    event_id = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "history_change"
        default_permissions = ()
        ordering = ("-at", "-event_id")

    def __str__(self) -> str:
        return self.id

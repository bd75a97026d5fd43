"""The list of all changes of the configuration."""

from __future__ import annotations

from django.db import models

from llmhub.history.describe import Kind


class Change(models.Model):
    """One change of the configuration: a row of a view over all tables of events."""

    id = models.CharField(primary_key=True, max_length=200)
    at = models.DateTimeField("when")
    kind = models.CharField("what happened", max_length=10, choices=Kind.choices)
    model = models.CharField("of", max_length=100)
    object_id = models.CharField(max_length=100)
    actor = models.CharField("who", max_length=300)
    event = models.CharField(max_length=100)
    event_id = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "history_change"
        default_permissions = ()
        ordering = ("-at", "-event_id")

    def __str__(self) -> str:
        return self.id

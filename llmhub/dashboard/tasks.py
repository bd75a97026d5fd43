"""What shows that background work is done."""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_ready
from django.utils import timezone

from llmhub.dashboard.models import Heartbeat, Part


@shared_task(name="llmhub.dashboard.tasks.canary")
def canary() -> None:
    """Show that a task that was sent is worked on."""
    Heartbeat.objects.beat(Part.WORKER, now=timezone.now())


@worker_ready.connect
def send_canary(**_: object) -> None:
    canary.apply_async(expires=60)

"""Background tasks of operations, and the worker's heartbeat."""

from __future__ import annotations

from functools import partial

from celery import shared_task
from celery.signals import worker_ready
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.history.tasks import usage_rollup
from llmhub.operations.models import Heartbeat, Service
from llmhub.operations.watchdog import watch_worker


@shared_task(name="llmhub.operations.tasks.canary")
def canary() -> None:
    """Write the worker's heartbeat: sent tasks are processed."""
    Heartbeat.objects.beat(Service.WORKER, now=timezone.now())


@shared_task(name="llmhub.operations.tasks.delete_expired_sessions", soft_time_limit=240, time_limit=300)
def delete_expired_sessions() -> int:
    deleted, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return deleted


@worker_ready.connect
def begin_work(**_: object) -> None:
    """Send the first tasks at once, so that a freshly started hub shows data."""
    canary.apply_async(expires=60)
    usage_rollup.apply_async(expires=60)
    watch_worker(partial(canary.apply_async, retry=False))

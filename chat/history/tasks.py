"""Periodic tasks of the history of chats."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from chat.history import rollups


@shared_task(soft_time_limit=50, time_limit=60)
def usage_rollup() -> int:
    return rollups.roll_up(now=timezone.now())

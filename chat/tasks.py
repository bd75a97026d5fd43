"""What the ledger needs done now and then."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from chat import rollups
from chat.ledger import partitions, reaper


@shared_task(name="chat.tasks.reap_open_chats", soft_time_limit=50, time_limit=60)
def reap_open_chats() -> int:
    return reaper.reap_open_chats()


@shared_task(name="chat.tasks.make_partitions", soft_time_limit=50, time_limit=60)
def make_partitions() -> list[str]:
    return partitions.ensure_partitions()


@shared_task(name="chat.tasks.usage_rollup", soft_time_limit=50, time_limit=60)
def usage_rollup() -> int:
    return rollups.roll_up(now=timezone.now())

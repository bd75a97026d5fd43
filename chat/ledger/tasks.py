"""Periodic tasks of the ledger."""

from __future__ import annotations

from celery import shared_task

from chat.ledger import partitions, reaper


@shared_task(soft_time_limit=50, time_limit=60)
def reap_open_chats() -> int:
    return reaper.reap_open_chats()


@shared_task(soft_time_limit=50, time_limit=60)
def make_partitions() -> list[str]:
    return partitions.ensure_partitions()

"""Derive every chat again from the ledger, with the rights of its tables' owner."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
from django.db import OperationalError, connections

from chat.history.models import Chat
from llmhub.runtime.database import owner_alias

LOCK_ATTEMPTS = 30
_FIRST = UUID(int=0)


def rebuild_chats(*, batch_chats: int, lock_attempts: int = LOCK_ATTEMPTS) -> Iterator[int]:
    """Derive the chats again in order of their start; yield the size of each batch.

    Chats may run meanwhile: each waits for one batch at most.
    """
    last_id, chats = _rebuild_batch(_FIRST, batch_chats=batch_chats, attempts=lock_attempts)
    while last_id is not None:
        yield chats
        last_id, chats = _rebuild_batch(last_id, batch_chats=batch_chats, attempts=lock_attempts)


def drop_chats_without_events(*, batch_chats: int) -> int:
    """Delete the rows without events in the ledger; return how many."""
    dropped = 0
    last_id = _FIRST
    chats = Chat.objects.using(owner_alias())
    while ids := list(chats.filter(pk__gt=last_id).order_by("pk").values_list("pk", flat=True)[:batch_chats]):
        dropped += chats.filter(pk__in=ids).without_events().delete()[0]
        last_id = ids[-1]
    return dropped


def _rebuild_batch(after: UUID, *, batch_chats: int, attempts: int) -> tuple[UUID | None, int]:
    """Derive one batch; retry on a lock timeout, which keeps chats from waiting behind this lock."""
    try:
        with connections[owner_alias()].cursor() as cursor:
            cursor.execute("SELECT last_id, chats FROM ledger_rebuild_chats(%s, %s)", (after, batch_chats))
            last_id, chats = cursor.fetchone()
            return last_id, chats
    except OperationalError as error:
        if attempts == 1 or not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise
    return _rebuild_batch(after, batch_chats=batch_chats, attempts=attempts - 1)

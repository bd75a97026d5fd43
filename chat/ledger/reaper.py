"""Close abandoned chats."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from chat.ledger.append import append_events
from chat.ledger.events import Outcome
from chat.ledger.models import ChatStatus

BATCH_CHATS = 500
MAX_BATCHES = 20


def reap_open_chats() -> int:
    """Append the outcome `lost` for abandoned chats; return how many.

    A chat is abandoned after a minute without a sign of its writer, or when open for two hours. One run
    closes a bounded number; the next run continues. Concurrent runs never close the same chat.
    """
    reaped = 0
    for _ in range(MAX_BATCHES):
        closed = _reap_batch()
        reaped += closed
        if closed < BATCH_CHATS:
            break
    return reaped


@transaction.atomic
def _reap_batch() -> int:
    outcomes = [
        Outcome(chat_id=chat_id, status=ChatStatus.LOST, error_type="lost").entry()
        for chat_id in _lock_abandoned_chats()
    ]
    return len(append_events(outcomes))


def _lock_abandoned_chats() -> list[UUID]:
    """Return chats to close, locked until the transaction ends; other chats only their writers may close."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_abandoned_chats(%s)", (BATCH_CHATS,))
        return [chat_id for (chat_id,) in cursor.fetchall()]

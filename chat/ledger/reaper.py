"""Closing the chats that nobody will close."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from chat.ledger.append import append_events
from chat.ledger.events import Outcome
from chat.models import Chat, ChatStatus

SILENT_FOR = timedelta(seconds=60)
OPEN_FOR = timedelta(hours=2)
BATCH_CHATS = 500
MAX_BATCHES = 20


def reap_open_chats(*, silent_for: timedelta = SILENT_FOR, open_for: timedelta = OPEN_FOR) -> int:
    """Append the outcome `lost` for chats whose writer has gone silent and for those open too long; return how many.

    Closes a bounded number; the next run goes on. Two runs at once never close the same chat.
    """
    reaped = 0
    for _ in range(MAX_BATCHES):
        closed = _reap_batch(silent_for=silent_for, open_for=open_for)
        reaped += closed
        if closed < BATCH_CHATS:
            break
    return reaped


@transaction.atomic
def _reap_batch(*, silent_for: timedelta, open_for: timedelta) -> int:
    abandoned = Chat.objects.abandoned(silent_for=silent_for, open_for=open_for)
    locked = abandoned.order_by("pk").select_for_update(skip_locked=True).values_list("pk", flat=True)
    outcomes = [
        Outcome(chat_id=chat_id, status=ChatStatus.LOST, error_type="lost").entry() for chat_id in locked[:BATCH_CHATS]
    ]
    return len(append_events(outcomes))

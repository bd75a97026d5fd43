"""Appending from where Django's own connection is used: tasks, commands, the admin, DRF."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Sequence
from uuid import UUID, uuid4

from django.db import Error, connection

from chat.ledger.entries import APPEND, LedgerEntry, Receipt, append_parameters
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.writer import SEEN


def append_event(entry: LedgerEntry) -> Receipt:
    """Append one entry; see `append_events`."""
    return append_events([entry])[0]


def append_events(entries: Sequence[LedgerEntry]) -> list[Receipt]:
    """Append entries, committed together on return; inside `atomic()`, together with it.

    A process numbers its events one transaction at a time, so inside `atomic()` append last: other threads that
    append wait for the commit.

    Errors: LedgerUnavailableError, for all of them.
    """
    if not entries:
        return []
    try:
        with connection.cursor() as cursor:
            writer_id = _writer_id()
            cursor.execute(APPEND, append_parameters(writer_id, entries))
            return [Receipt(row[0], row[1], row[2], bytes(row[3])) for row in cursor.fetchall()]
    except (Error, UnicodeError):
        # The driver's error may quote the entry, so it is not passed on.
        raise LedgerUnavailableError("The ledger cannot be written.") from None


def _writer_id() -> UUID:
    return _seat_of(os.getpid())


@functools.cache
def _seat_of(pid: int) -> UUID:
    """Take a seat for this process; a forked child takes its own. Runs one query."""
    writer_id = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(SEEN, (writer_id, "django", socket.gethostname(), pid))
    return writer_id

"""Appending from where Django's own connection is used: tasks, commands, the admin, DRF."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from django.db import Error, connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

from chat.ledger.entries import APPEND, LedgerEntry, Receipt, Seat, append_parameters
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.writer import SEEN, seen_parameters


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
        with _cursor() as cursor:
            seat = _seat_of(os.getpid())
            cursor.execute(APPEND, append_parameters(seat, entries))
            return [Receipt(row[0], row[1], row[2], bytes(row[3])) for row in cursor.fetchall()]
    except (Error, UnicodeError):
        # The driver's error may quote the entry, so it is not passed on.
        raise LedgerUnavailableError("The ledger cannot be written.") from None


def _cursor() -> CursorWrapper:
    """A cursor that sends the secret apart from the statement, which others of the same role may see."""
    connection.ensure_connection()
    cursor: Any = ServerBindingCursor(connection.connection)  # type: ignore[call-arg]  # psycopg's is untyped there
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


@functools.cache
def _seat_of(_pid: int) -> Seat:
    """Take a seat for this process; a forked child takes its own. Runs one query."""
    seat = Seat()
    with _cursor() as cursor:
        cursor.execute(SEEN, seen_parameters(seat, role="django"))
    return seat

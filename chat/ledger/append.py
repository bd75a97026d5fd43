"""Append to the ledger over Django's own connection: tasks, commands, the admin, DRF."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from django.db import Error, connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

from chat.ledger.entries import APPEND, LedgerEntry, Receipt, WriterIdentity, append_parameters
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.writer import SEEN, seen_parameters


def append_event(entry: LedgerEntry) -> Receipt:
    """Append one entry; see `append_events`."""
    return append_events([entry])[0]


def append_events(entries: Sequence[LedgerEntry]) -> list[Receipt]:
    """Append entries, committed together on return; inside `atomic()`, together with it.

    A process numbers its events one transaction at a time. Inside `atomic()`, append last: other threads of the
    process wait for the commit before they append.

    Errors: LedgerUnavailableError; then none of the entries is stored.
    """
    if not entries:
        return []
    try:
        with _cursor() as cursor:
            identity = _identity_of(os.getpid())
            cursor.execute(APPEND, append_parameters(identity, entries))
            return [Receipt(row[0], row[1], row[2], bytes(row[3])) for row in cursor.fetchall()]
    except (Error, UnicodeError):
        # The driver's error may quote the entry, so it is not chained.
        raise LedgerUnavailableError("The ledger cannot be written.") from None


def _cursor() -> CursorWrapper:
    """Return a cursor that binds parameters on the server.

    Sessions of the same role can read a statement's text; the writer's secret is therefore not part of it.
    """
    connection.ensure_connection()
    cursor: Any = ServerBindingCursor(connection.connection)  # type: ignore[call-arg]  # psycopg's is untyped there
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


@functools.cache
def _identity_of(_pid: int) -> WriterIdentity:
    """Register this process as a writer; a forked child registers anew. Runs one query."""
    identity = WriterIdentity()
    with _cursor() as cursor:
        cursor.execute(SEEN, seen_parameters(identity, role="django"))
    return identity

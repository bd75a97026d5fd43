"""Appending to the ledger what is said to have happened in the past, as only the owner of its tables can."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.db import connections

from chat.ledger.entries import LedgerEntry, WriterIdentity, append_parameters

ROLE = "seed"
"""The role in the seats of those who wrote what never happened: by it the made-up chats are told from real ones."""

APPEND_AT = (
    "SELECT count(*) FROM ledger_append_at("
    "%s::timestamptz[], %s::uuid, %s::bytea, %s::text[], %s::uuid[], %s::text[], "
    "%s::bytea[], %s::text[], %s::bytea[], %s::bigint[])"
)
_TAKE_SEAT = """
    INSERT INTO ledger_ledgerwriterrecord (writer_id, secret_hash, role, hostname, pid)
    VALUES (%s, sha256(%s), %s, %s, %s)
"""
_IS_OWNER = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'ledger_ledgerevent'::regclass"
_SEEDED = "(SELECT writer_id FROM ledger_ledgerwriterrecord WHERE role = %s)"
_MAKE_PARTITIONS = """
    SELECT ledger_make_partition(parent, month)
    FROM unnest(ARRAY['ledger_ledgerevent', 'ledger_chatcontent']::regclass[]) AS parent
    JOIN pg_class ON pg_class.oid = parent
    CROSS JOIN generate_series(
      date_trunc('month', %s::timestamptz AT TIME ZONE 'UTC'), now() AT TIME ZONE 'UTC', interval '1 month'
    ) AS month
    WHERE to_regclass(format('%%I', relname || to_char(month, '_YYYY_MM'))) IS NULL
"""


class SeedError(Exception):
    """Nothing can be seeded here; the message says why."""


@dataclass(frozen=True, slots=True)
class PastEntry:
    """An entry, and when it is to have been appended."""

    at: datetime
    entry: LedgerEntry


class PastLedger:
    """A writer of the ledger that appends events with times in the past.

    Errors: SeedError if the connection is not one of the owner of the ledger's tables.
    """

    def __init__(self, alias: str) -> None:
        connection = connections[alias]
        connection.ensure_connection()
        self._connection: psycopg.Connection[Any] = connection.connection
        if not self._fetch(_IS_OWNER)[0]:
            raise SeedError("Only the owner of the ledger's tables can seed it: set DATABASE_OWNER_URL.")
        self._identity = WriterIdentity()

    def count_chats(self) -> tuple[int, int]:
        """Return how many chats are seeded, and how many are real. Runs one query over all of them."""
        seeded, others = self._fetch(
            f"SELECT count(*) FILTER (WHERE writer_id IN {_SEEDED}), count(*) FILTER (WHERE writer_id NOT IN {_SEEDED})"  # noqa: S608 (constants)
            " FROM chat_chat",
            (ROLE, ROLE),
        )
        return seeded, others

    def open(self, since: datetime) -> None:
        """Register the writer, and make the partitions of the months from `since` on that are missing."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('llmhub.ledger_ensure_partitions', 0))")
            cursor.execute(_MAKE_PARTITIONS, (since,))
            self._identity = WriterIdentity()
            cursor.execute(
                _TAKE_SEAT, (self._identity.writer_id, self._identity.secret, ROLE, socket.gethostname(), os.getpid())
            )

    def append(self, past: Sequence[PastEntry]) -> None:
        """Append entries, committed together, in the order given, which must be that of their times."""
        parameters = append_parameters(self._identity, [one.entry for one in past])
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute(APPEND_AT, ([one.at for one in past], *parameters))

    def analyze(self) -> None:
        """Tell the planner what the tables hold now."""
        with self._connection.cursor() as cursor:
            cursor.execute("ANALYZE chat_chat, ledger_ledgerevent, ledger_chatcontent")

    def _fetch(self, query: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            row: tuple[Any, ...] | None = cursor.execute(query.encode(), parameters).fetchone()
        assert row
        return row

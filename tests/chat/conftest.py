from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

PARTITIONS = """
    SELECT inhparent::regclass::text, inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent IN ('ledger_ledgerevent'::regclass, 'ledger_chatcontent'::regclass) ORDER BY 2
"""


def ledger_partitions() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS)
        return [name for _, name in cursor.fetchall()]


@contextmanager
def application_role() -> Iterator[None]:
    """Act with the rights that the hub's processes have."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE llmhub_app")
        yield
        cursor.execute("RESET ROLE")


@pytest.fixture
def empty_ledger(db: None) -> None:
    """Begin with a ledger without events. Only its owner can do that, by switching triggers off."""
    tables = [*ledger_partitions(), "ledger_ledgerevent", "ledger_chatcontent"]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ledger_no_truncate")
        cursor.execute("TRUNCATE ledger_ledgerevent, ledger_chatcontent, ledger_ledgerwriterrecord, chat_chat")
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER ledger_no_truncate")

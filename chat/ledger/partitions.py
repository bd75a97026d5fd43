"""Create the ledger's monthly partitions ahead of time."""

from __future__ import annotations

from django.db import connection

MONTHS_AHEAD = 3


def ensure_partitions(*, months_ahead: int = MONTHS_AHEAD) -> list[str]:
    """Create the missing partitions of this month and those ahead; return the names of the new ones."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_ensure_partitions(%s)", (months_ahead,))
        return [name for (name,) in cursor.fetchall()]

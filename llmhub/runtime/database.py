"""Database connections beyond the ORM: owner role, connection string, release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import make_conninfo

_PSYCOPG_OPTIONS = (
    "cursor_factory",
    "context",
    "prepare_threshold",
    "server_side_binding",
    "isolation_level",
    "assume_role",
    "pool",
)
"""Django's options for psycopg, which libpq does not know."""


def owner_alias() -> str:
    """Return the alias of the connection that owns the tables; the default one if there is only one role."""
    return "owner" if "owner" in settings.DATABASES else DEFAULT_DB_ALIAS


def conninfo(**overrides: Any) -> str:
    """Return the libpq connection string of the default database, password included."""
    params = connections[DEFAULT_DB_ALIAS].get_connection_params()
    options = {name: value for name, value in params.items() if name not in _PSYCOPG_OPTIONS}
    return make_conninfo(**options | overrides)


def release_connections() -> None:
    """Close this thread's connections, except those in a transaction; the next query reconnects."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


@contextmanager
def own_connection() -> Iterator[None]:
    """Give this thread a connection outside the pool, from the first query to the end of the block."""
    connection = connections[DEFAULT_DB_ALIAS]
    connection.close()
    shared = connection.settings_dict
    options = {name: value for name, value in shared["OPTIONS"].items() if name != "pool"}
    connection.settings_dict = {**shared, "OPTIONS": options, "CONN_MAX_AGE": None}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = shared

"""The database, for those who need more of a connection than the ORM gives: whose it is, and how long it is held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import make_conninfo

_NOT_LIBPQ = (
    "cursor_factory",
    "context",
    "prepare_threshold",
    "server_side_binding",
    "isolation_level",
    "assume_role",
    "pool",
)
"""What Django says to psycopg and not to the server."""


def owner_alias() -> str:
    """Return Django's name for the database as the owner of its tables; where there is one role, the only one."""
    return "owner" if "owner" in settings.DATABASES else DEFAULT_DB_ALIAS


def conninfo(**overrides: Any) -> str:
    """Return the libpq connection string of Django's default database; it holds the password."""
    params = connections[DEFAULT_DB_ALIAS].get_connection_params()
    told = {name: value for name, value in params.items() if name not in _NOT_LIBPQ}
    return make_conninfo(**told | overrides)


def release_connections() -> None:
    """Give back this thread's connections, but for those inside a transaction; the next query takes one anew."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


@contextmanager
def own_connection() -> Iterator[None]:
    """Give this thread a connection outside the pool, kept from the first query to the end of the block."""
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

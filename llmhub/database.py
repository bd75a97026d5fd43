"""The database, for those who speak to it below the ORM or as the owner of its tables."""

from __future__ import annotations

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

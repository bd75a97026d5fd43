"""The database, for those who speak to it below the ORM: the ledger's writer and the configuration listener."""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import make_conninfo

_LIBPQ_ONLY = (
    "cursor_factory",
    "context",
    "prepare_threshold",
    "server_side_binding",
    "isolation_level",
    "assume_role",
)


def conninfo(**overrides: Any) -> str:
    """Return the libpq connection string of Django's default database; it holds the password."""
    params = dict(connections[DEFAULT_DB_ALIAS].get_connection_params())
    for name in _LIBPQ_ONLY:
        params.pop(name, None)
    params.pop("pool", None)
    return make_conninfo(**{**params, **overrides})

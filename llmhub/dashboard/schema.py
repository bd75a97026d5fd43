"""The database's tables brought up to date, and who may do what with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

APPLICATION_ROLE = "llmhub_app"
LOCK = "SELECT {}(hashtextextended('llmhub.prepare', 0))"

# The tables of the ledger are not managed by Django, and so are not among those granted: who may do what with them is
# their migration's affair.
LACKING = """
SELECT relname FROM pg_class
WHERE oid = ANY (%s::regclass[]) AND NOT (
  has_table_privilege(%s, oid, 'SELECT') AND has_table_privilege(%s, oid, 'INSERT')
  AND has_table_privilege(%s, oid, 'UPDATE') AND has_table_privilege(%s, oid, 'DELETE')
)
"""


@contextmanager
def alone(alias: str, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time in, over all machines."""
    with connections[alias].cursor() as cursor:
        cursor.execute(LOCK.format("pg_try_advisory_lock"))
        if not cursor.fetchone()[0]:
            on_wait()
            cursor.execute(LOCK.format("pg_advisory_lock"))
        try:
            yield
        finally:
            cursor.execute(LOCK.format("pg_advisory_unlock"))


def migrate(alias: str) -> str:
    """Apply what is not applied yet; return what was done, in words.

    Runs Django's command even when nothing is missing, as an earlier one may have been cut short of its last step.
    """
    recorder = MigrationRecorder(connections[alias])
    before = len(recorder.applied_migrations())
    call_command("migrate", database=alias, interactive=False, verbosity=0)
    call_command("createcachetable", database=alias, verbosity=0)
    applied = len(recorder.applied_migrations()) - before
    return f"Applied {applied} migrations." if applied else ""


def grant(alias: str, *, to: str) -> str:
    """Let the application's user work with Django's tables, as their owner; return what was done, in words."""
    connection = connections[alias]
    of_models = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [*of_models, settings.CACHES["default"]["LOCATION"]]
    with connection.cursor() as cursor:
        lacking = _lacking(cursor, tables)
        if lacking:
            cursor.execute(_grant_on(sql.SQL("SELECT, INSERT, UPDATE, DELETE"), lacking))
        cursor.execute(_grant_on(sql.SQL("SELECT"), ["django_migrations"]))
        cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (to, APPLICATION_ROLE))
        if not cursor.fetchone()[0]:
            cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APPLICATION_ROLE), sql.Identifier(to)))
    return f"Granted {APPLICATION_ROLE} {len(lacking)} tables." if lacking else ""


def _lacking(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    cursor.execute(LACKING, (tables, *[APPLICATION_ROLE] * 4))
    return [name for (name,) in cursor.fetchall()]


def _grant_on(privileges: sql.SQL, tables: list[str]) -> sql.Composed:
    return sql.SQL("GRANT {} ON {} TO {}").format(
        privileges, sql.SQL(", ").join(map(sql.Identifier, tables)), sql.Identifier(APPLICATION_ROLE)
    )

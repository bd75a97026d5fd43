"""The database's tables brought up to date, and who may do what with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from llmhub.access.changes import event_models

APPLICATION_ROLE = "llmhub_app"
LOCK = "SELECT {}(hashtextextended('llmhub.prepare', 0))"

# The tables of the ledger are not managed by Django, and so are not among those granted: who may do what with them is
# their migration's affair.
PRIVILEGES = {"SELECT", "INSERT", "UPDATE", "DELETE"}
GRANTED = """
SELECT relname, privilege FROM pg_class, unnest(%s::text[]) AS privilege
WHERE oid = ANY (%s::regclass[]) AND has_table_privilege(%s, oid, privilege)
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
    """Let the application's user work with Django's tables, as their owner; return what was done, in words.

    Tables of events only grow: what is in them nobody but their owner changes.
    """
    connection = connections[alias]
    of_models = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [*of_models, str(settings.CACHES["default"]["LOCATION"])]
    events = {model._meta.db_table for model in event_models()}
    with connection.cursor() as cursor:
        granted = _granted(cursor, tables)
        changed = [
            *_let(cursor, sorted(events & set(tables)), granted, {"SELECT", "INSERT"}),
            *_let(cursor, sorted(set(tables) - events), granted, PRIVILEGES),
        ]
        cursor.execute(_grant_on({"SELECT"}, ["django_migrations"]))
        cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (to, APPLICATION_ROLE))
        if not cursor.fetchone()[0]:
            cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APPLICATION_ROLE), sql.Identifier(to)))
    return f"Granted {APPLICATION_ROLE} {len(changed)} tables." if changed else ""


def _granted(cursor: CursorWrapper, tables: list[str]) -> Mapping[str, set[str]]:
    cursor.execute(GRANTED, (sorted(PRIVILEGES), tables, APPLICATION_ROLE))
    granted: dict[str, set[str]] = defaultdict(set)
    for table, privilege in cursor.fetchall():
        granted[table].add(privilege)
    return granted


def _let(cursor: CursorWrapper, tables: list[str], granted: Mapping[str, set[str]], wanted: set[str]) -> list[str]:
    """Grant what lacks and revoke what is too much; return the tables this was done with."""
    changed = [table for table in tables if granted.get(table, set()) != wanted]
    if changed:
        cursor.execute(_grant_on(wanted, changed))
        if beyond := PRIVILEGES - wanted:
            cursor.execute(_on("REVOKE {} ON {} FROM {}", beyond, changed))
    return changed


def _grant_on(privileges: set[str], tables: list[str]) -> sql.Composed:
    return _on("GRANT {} ON {} TO {}", privileges, tables)


def _on(statement: LiteralString, privileges: set[str], tables: list[str]) -> sql.Composed:
    words = sql.SQL(", ").join(sql.SQL(word) for word in sorted(privileges))
    return sql.SQL(statement).format(
        words, sql.SQL(", ").join(map(sql.Identifier, tables)), sql.Identifier(APPLICATION_ROLE)
    )

"""Migrate the database, and grant the application's role its privileges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from psycopg import sql

from chat.history.models import Chat
from llmhub.history.describe import event_models

APPLICATION_ROLE = "llmhub_app"
LOCK = "SELECT {}(hashtextextended('llmhub.prepare', 0))"

# Django does not manage the ledger's tables, so these grants leave them out; their migration grants its own.
READ = frozenset({"SELECT"})
WORK = READ | {"INSERT", "UPDATE", "DELETE"}
GRANTED = """
SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)
WHERE pg_class.oid = ANY (%s::regclass[]) AND grantee = %s::regrole
"""


@contextmanager
def exclusive_lock(alias: str, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold an advisory lock: one process at a time, over all machines."""
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
    """Apply pending migrations; return a message.

    Runs Django's command even if none is pending, as an earlier run may have been interrupted before its last step.
    """
    recorder = MigrationRecorder(connections[alias])
    before = len(recorder.applied_migrations())
    call_command("migrate", database=alias, interactive=False, verbosity=0)
    call_command("createcachetable", database=alias, verbosity=0)
    applied = len(recorder.applied_migrations()) - before
    return f"Applied {applied} migrations." if applied else ""


def grant(alias: str, *, to: str) -> str:
    """Grant the application's role Django's tables, as their owner; return a message.

    Read-only: chats, which the ledger's functions derive, and the history, which triggers record.
    """
    connection = connections[alias]
    model_tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    read_only_models: list[type[Model]] = [Chat, MigrationRecorder.Migration, *event_models()]
    read_only_tables = [model._meta.db_table for model in read_only_models]
    privileges = {
        **dict.fromkeys([*model_tables, str(settings.CACHES["default"]["LOCATION"])], WORK),
        **dict.fromkeys(read_only_tables, READ),
    }
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        granted = _current_privileges(cursor, list(privileges))
        changed = [table for table in privileges if granted[table] != privileges[table]]
        for table in changed:
            _replace_privileges(cursor, table, privileges[table])
        cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (to, APPLICATION_ROLE))
        if not cursor.fetchone()[0]:
            cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APPLICATION_ROLE), sql.Identifier(to)))
    return f"Granted {APPLICATION_ROLE} {len(changed)} tables." if changed else ""


def _current_privileges(cursor: CursorWrapper, tables: list[str]) -> Mapping[str, set[str]]:
    cursor.execute(GRANTED, (tables, APPLICATION_ROLE))
    granted: dict[str, set[str]] = {table: set() for table in tables}
    for table, privilege in cursor.fetchall():
        granted[table].add(privilege)
    return granted


def _replace_privileges(cursor: CursorWrapper, table: str, privileges: frozenset[str]) -> None:
    """Revoke all privileges on a table, then grant these."""
    names = {"table": sql.Identifier(table), "role": sql.Identifier(APPLICATION_ROLE)}
    privilege_list = sql.SQL(", ").join(sql.SQL(privilege) for privilege in sorted(privileges))
    cursor.execute(sql.SQL("REVOKE ALL ON {table} FROM {role}").format(**names))
    cursor.execute(sql.SQL("GRANT {privileges} ON {table} TO {role}").format(privileges=privilege_list, **names))

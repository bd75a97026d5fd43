"""The database's tables brought up to date, and who may do what with them."""

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

# The tables of the ledger are not managed by Django, and so are not among those granted: who may do what with them is
# their migration's affair.
READ = frozenset({"SELECT"})
WORK = READ | {"INSERT", "UPDATE", "DELETE"}
GRANTED = """
SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)
WHERE pg_class.oid = ANY (%s::regclass[]) AND grantee = %s::regrole
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

    Chats, which the ledger's functions derive, and the history, which triggers keep, it only reads.
    """
    connection = connections[alias]
    of_models = connection.introspection.django_table_names(only_existing=True, include_views=False)
    kept_models: list[type[Model]] = [Chat, MigrationRecorder.Migration, *event_models()]
    kept = [model._meta.db_table for model in kept_models]
    wanted = {
        **dict.fromkeys([*of_models, str(settings.CACHES["default"]["LOCATION"])], WORK),
        **dict.fromkeys(kept, READ),
    }
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        granted = _granted(cursor, list(wanted))
        changed = [table for table in wanted if granted[table] != wanted[table]]
        for table in changed:
            _let(cursor, table, wanted[table])
        cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (to, APPLICATION_ROLE))
        if not cursor.fetchone()[0]:
            cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APPLICATION_ROLE), sql.Identifier(to)))
    return f"Granted {APPLICATION_ROLE} {len(changed)} tables." if changed else ""


def _granted(cursor: CursorWrapper, tables: list[str]) -> Mapping[str, set[str]]:
    cursor.execute(GRANTED, (tables, APPLICATION_ROLE))
    granted: dict[str, set[str]] = {table: set() for table in tables}
    for table, privilege in cursor.fetchall():
        granted[table].add(privilege)
    return granted


def _let(cursor: CursorWrapper, table: str, privileges: frozenset[str]) -> None:
    """Take every right to a table away, then give those that are wanted."""
    names = {"table": sql.Identifier(table), "role": sql.Identifier(APPLICATION_ROLE)}
    words = sql.SQL(", ").join(sql.SQL(word) for word in sorted(privileges))
    cursor.execute(sql.SQL("REVOKE ALL ON {table} FROM {role}").format(**names))
    cursor.execute(sql.SQL("GRANT {words} ON {table} TO {role}").format(words=words, **names))

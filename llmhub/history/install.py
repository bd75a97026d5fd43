"""Install the history's triggers, and the view over all changes.

Both are derived from the registry of models after each `migrate`, so that a decorator alone tracks a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from llmhub.history.describe import Event, event_models, is_link, link_owner, tracked_model
from llmhub.history.models import Change

VIEW = Change._meta.db_table
IS_INSTALLED = "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'history_keep')"
INSTALLED_TRIGGERS = """
SELECT tgrelid::regclass::text, encode(tgargs, 'escape') FROM pg_trigger
WHERE tgname = 'history_note' AND tgenabled = 'A' AND NOT tgisinternal
"""
EVENT_TABLE_QUERY = """
SELECT '{event}:' || pgh_id AS id, pgh_created_at AS at, {kind} AS kind, '{model}' AS model,
  {object_id}::text AS object_id, coalesce(pgh_context ->> 'actor', '') AS actor, '{event}' AS event, pgh_id AS event_id
FROM {table}
"""
KIND_OF_ROW = (
    "CASE pgh_label WHEN 'insert' THEN 'added' WHEN 'delete' THEN 'deleted' "
    "WHEN 'found' THEN 'found' ELSE 'changed' END"
)


def install_history(*, using: str, **_: Any) -> None:
    """Install triggers and view for every tracked model; receives `post_migrate`.

    Idempotent: costs four queries if nothing changed.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(IS_INSTALLED)
        if not cursor.fetchone()[0]:
            return
        tables = set(connections[using].introspection.table_names(cursor))
        models = [model for model in event_models() if model._meta.db_table in tables]
        _install_triggers(cursor, models)
        _install_view(cursor, models)


def _install_triggers(cursor: CursorWrapper, models: Iterable[type[Event]]) -> None:
    cursor.execute(INSTALLED_TRIGGERS)
    installed = dict(cursor.fetchall())
    for event_model in models:
        rows, events = tracked_model(event_model)._meta.db_table, event_model._meta.db_table
        secrets = list(event_model.secrets)  # type: ignore[attr-defined]  # set by `track_changes`
        if installed.get(rows) != f"{events}\\000{{{','.join(secrets)}}}\\000":
            cursor.execute("SELECT history_keep(%s, %s, %s::text[])", (rows, events, secrets))


def _install_view(cursor: CursorWrapper, models: Iterable[type[Event]]) -> None:
    query = " UNION ALL ".join(_event_table_query(model) for model in models)
    version = hashlib.sha256(query.encode()).hexdigest()
    cursor.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", (VIEW,))
    if query and cursor.fetchone()[0] != version:
        cursor.execute(f"DROP VIEW IF EXISTS {VIEW}")
        cursor.execute(f"CREATE VIEW {VIEW} AS {query}")
        cursor.execute(f"COMMENT ON VIEW {VIEW} IS '{version}'")
        cursor.execute(f"GRANT SELECT ON {VIEW} TO llmhub_app")


def _event_table_query(event_model: type[Event]) -> str:
    owner, object_id, kind = tracked_model(event_model), "pgh_obj_id", KIND_OF_ROW
    if is_link(event_model):
        (owner, object_id), kind = link_owner(event_model), "'changed'"
    return EVENT_TABLE_QUERY.format(
        event=event_model._meta.label,
        model=owner._meta.label,
        object_id=object_id,
        kind=kind,
        table=event_model._meta.db_table,
    )

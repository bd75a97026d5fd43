"""Track changes of the configuration: PostgreSQL triggers record every change, whatever its origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pghistory
from django.db.models import Index, JSONField, Model
from django.http import HttpRequest
from pghistory.middleware import HistoryMiddleware

from llmhub.http.client_address import client_address

ModelClass = TypeVar("ModelClass", bound=type[Model])


def track_changes(
    *, exclude: Sequence[str] = (), secrets: Sequence[str] = (), app_label: str | None = None
) -> Callable[[ModelClass], ModelClass]:
    """Record each version of a model's rows in an append-only table.

    Shape: columns in `exclude` are not recorded and cause no event. A column in `secrets` only causes an event
    labelled `<column>_changed`. `makemigrations` creates the table, `migrate` the triggers.
    """
    labels = ("insert", "update", "delete", *(f"{name}_changed" for name in secrets))
    return _track(*labels, secrets=secrets, exclude=[*exclude, *secrets], app_label=app_label)


def track_links(*, app_label: str) -> Callable[[ModelClass], ModelClass]:
    """Record additions to and removals from a many-to-many relation, given its through model."""
    return _track("added", "removed", obj_field=None, app_label=app_label)


def _track(*labels: str, secrets: Sequence[str] = (), **options: Any) -> Callable[[ModelClass], ModelClass]:
    """Create only the event table: a setting that any role may change disables the library's triggers."""
    # the list of all changes, newest first: a merge of these indexes
    newest_first = Index(fields=("pgh_created_at", "pgh_id"))
    track: Callable[[ModelClass], ModelClass] = pghistory.track(
        *map(pghistory.ManualEvent, labels),
        context_field=pghistory.ContextJSONField(),
        context_id_field=pghistory.ContextUUIDField(),
        append_only=False,
        attrs={"pgh_session": JSONField(null=True), "secrets": tuple(secrets)},
        meta={"default_permissions": (), "indexes": (newest_first,)},
        **options,
    )
    return track


def acting_as(name: str) -> pghistory.context:
    """Return a context that records a name with every change of this thread."""
    return pghistory.context(actor=name)


class ActorMiddleware(HistoryMiddleware):
    """Records the user, as text that outlives the row, and the request with every change."""

    def get_context(self, request: HttpRequest) -> dict[str, Any]:
        return {"actor": request.user.get_username(), "path": request.path, "address": client_address(request)}


def begin_task(name: str) -> pghistory.context:
    """Enter a context that records a task with every change of this thread; the caller exits it."""
    context = acting_as(f"task {name}")
    context.__enter__()  # type: ignore[no-untyped-call]  # untyped
    return context

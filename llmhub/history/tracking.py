"""The history of the configuration: PostgreSQL's triggers keep every change, whoever makes it and however."""

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
    """Keep each row of a model as it was after every change, in a table that only grows.

    Shape: columns in `exclude` are neither kept nor make an event. Of columns in `secrets` only that they changed is
    kept, as an event labelled `<column>_changed`. `makemigrations` makes the table, `migrate` the triggers.
    """
    labels = ("insert", "update", "delete", *(f"{name}_changed" for name in secrets))
    return _track(*labels, secrets=secrets, exclude=[*exclude, *secrets], app_label=app_label)


def track_links(*, app_label: str) -> Callable[[ModelClass], ModelClass]:
    """Keep who was put into what and taken out of it: for the table between two models."""
    return _track("added", "removed", obj_field=None, app_label=app_label)


def _track(*labels: str, secrets: Sequence[str] = (), **options: Any) -> Callable[[ModelClass], ModelClass]:
    """Make the table of events alone: the library's triggers heed a setting that lets any role switch them off."""
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
    """Within this context, note a name with every change that this thread makes."""
    return pghistory.context(actor=name)


class ActorMiddleware(HistoryMiddleware):
    """Notes with every change who made it, as text that outlives the user, and by which request."""

    def get_context(self, request: HttpRequest) -> dict[str, Any]:
        return {"actor": request.user.get_username(), "path": request.path, "address": client_address(request)}


def begin_task(name: str) -> pghistory.context:
    """Note a background task with every change that this thread makes, until what is returned is exited."""
    context = acting_as(f"task {name}")
    context.__enter__()  # type: ignore[no-untyped-call]  # untyped
    return context

"""The history of the configuration: PostgreSQL's triggers keep every change, whoever makes it and however."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pghistory
import pgtrigger
from django.db.models import Model
from django.http import HttpRequest
from pghistory.middleware import HistoryMiddleware

from llmhub.access.addresses import client_address

ModelClass = TypeVar("ModelClass", bound=type[Model])


def track_changes(
    *, exclude: Sequence[str] = (), secrets: Sequence[str] = (), app_label: str | None = None
) -> Callable[[ModelClass], ModelClass]:
    """Keep each row of a model as it was after every change, in a table that only grows.

    Shape: columns in `exclude` are neither kept nor make an event. Of columns in `secrets` only that they changed is
    kept, as an event labelled `<column>_changed`.
    """
    noticed = (pghistory.UpdateEvent(f"{name}_changed", condition=pgtrigger.AnyChange(name)) for name in secrets)
    events = (pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent(), *noticed)
    return _track(*events, exclude=[*exclude, *secrets], app_label=app_label)


def track_links(*, app_label: str) -> Callable[[ModelClass], ModelClass]:
    """Keep who was put into what and taken out of it: for the table between two models."""
    return _track(pghistory.InsertEvent("added"), pghistory.DeleteEvent("removed"), obj_field=None, app_label=app_label)


def _track(*events: pghistory.RowEvent, **options: Any) -> Callable[[ModelClass], ModelClass]:
    track: Callable[[ModelClass], ModelClass] = pghistory.track(
        *events,
        context_field=pghistory.ContextJSONField(),
        context_id_field=pghistory.ContextUUIDField(),
        append_only=True,
        meta={"default_permissions": ()},
        **options,
    )
    return track


class ActorMiddleware(HistoryMiddleware):
    """Notes with every change who made it, as text that outlives the user, and by which request."""

    def get_context(self, request: HttpRequest) -> dict[str, Any]:
        return {"actor": request.user.get_username(), "path": request.path, "address": client_address(request)}


def begin_task(name: str) -> pghistory.context:
    """Note a background task with every change that this thread makes, until what is returned is exited."""
    context = pghistory.context(actor=f"task {name}")
    context.__enter__()  # type: ignore[no-untyped-call]  # untyped
    return context

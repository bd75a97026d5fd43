"""Read the history of the configuration, and describe each change in words."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import reduce
from typing import Any

import pghistory.models
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Field, ForeignKey, Model, OuterRef, QuerySet, Subquery, TextChoices, Value
from django.utils import formats
from django.utils.text import capfirst

from llmhub.adminkit.times import exact_time

EMPTY = "–"
NOTHING: tuple[Any, ...] = (None, "", [], {}, "[]", "{}")  # some columns keep JSON as text
NOBODY = "anonymous"
OUTSIDE = "outside the hub or background task"
PARENTS = ("application", "provider", "user")
SET_AT = "_set_at"
CHANGED = "_changed"

Event = pghistory.models.Event
Names = Mapping[type[Model], Mapping[Any, str]]


class Kind(TextChoices):
    """The kind of a change."""

    ADDED = "added", "Added"
    CHANGED = "changed", "Changed"
    DELETED = "deleted", "Deleted"
    FOUND = "found", "Initial"


KINDS = {"insert": Kind.ADDED, "delete": Kind.DELETED, "found": Kind.FOUND}


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to one event: its table and id."""

    event: str
    id: int


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field's change as text. Shape: `before` and `after` are None if absent or secret."""

    name: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedChange:
    """One change of one row as text."""

    at: datetime
    kind: Kind
    subject: str
    actor: str
    through: str
    fields: tuple[FieldChange, ...]


def event_models() -> list[type[Event]]:
    return [model for model in apps.get_models() if issubclass(model, Event) and model is not Event]


def tracked_model(event_model: type[Event]) -> type[Model]:
    options: Any = event_model.pgh_tracked_model._meta  # type: ignore[attr-defined]  # each of ours has one
    model: type[Model] = options.concrete_model
    return model


def is_link(event_model: type[Event]) -> bool:
    """Whether a table holds the events of a many-to-many relation."""
    return not hasattr(event_model, "pgh_obj")


def link_owner(event_model: type[Event]) -> tuple[type[Model], str]:
    """Return the owning model of a relation's events, and its column: the first of the two."""
    field = next(field for field in _tracked_fields(event_model) if field.is_relation)
    return _target(field), field.column


def find_event_model(model: type[Model]) -> type[Event] | None:
    """Return the event model that tracks a model, if any."""
    concrete = model._meta.concrete_model
    return next((e for e in event_models() if not is_link(e) and tracked_model(e) is concrete), None)


def newest_first(model: type[Model], pk: Any, *, offset: int, limit: int) -> list[Ref]:
    """Return references to the changes of one row and of its relations. Runs one query."""
    queries = [
        _refs(event_model.objects.filter(**{f"{name}_id": pk}), event_model)
        for event_model, name in _columns_naming(model)
    ]
    if not queries:
        return []
    union = reduce(lambda left, right: left.union(right, all=True), queries)
    rows = union.order_by("-pgh_created_at", "event", "-pgh_id")[offset : offset + limit]
    return [Ref(row["event"], row["pgh_id"]) for row in rows]


def _refs(events: QuerySet[Event], event_model: type[Event]) -> Any:
    label = Value(event_model._meta.label, output_field=CharField())
    return events.order_by().annotate(event=label).values("pgh_created_at", "event", "pgh_id")


def _columns_naming(model: type[Model]) -> Iterable[tuple[type[Event], str]]:
    """Yield each event model that may refer to a row of this model, with the referring column."""
    concrete = model._meta.concrete_model
    for event_model in event_models():
        if not is_link(event_model):
            if tracked_model(event_model) is concrete:
                yield event_model, "pgh_obj"
            continue
        for field in _tracked_fields(event_model):
            if field.is_relation and _target(field) is concrete:
                yield event_model, field.name


def describe(refs: Sequence[Ref], *, of: type[Model] | None = None) -> list[DescribedChange]:
    """Describe changes, in the order given; relations are described from the side of `of`, if given.

    Runs at most two queries for each event table, and two for each table their foreign keys refer to.
    """
    loaded = _load(refs)
    names = _names_of([row for row, _ in loaded.values()] + [row for _, row in loaded.values() if row])
    described = {ref: _change(row, before, names, of) for ref, (row, before) in loaded.items()}
    return [described[ref] for ref in refs if ref in described]


def merge_changes(changes: Iterable[DescribedChange]) -> list[DescribedChange]:
    """Merge the changes that one request made to a row and its relations."""
    merged: list[DescribedChange] = []
    for change in changes:
        last = merged[-1] if merged else None
        if last and _is_same_action(last, change):
            kind = change.kind if last.kind == Kind.CHANGED else last.kind
            merged[-1] = replace(last, kind=kind, fields=(*change.fields, *last.fields))
        else:
            merged.append(change)
    return merged


def _is_same_action(left: DescribedChange, right: DescribedChange) -> bool:
    is_same = (left.at, left.actor, left.through) == (right.at, right.actor, right.through)
    return is_same and Kind.CHANGED in (left.kind, right.kind)


def _load(refs: Iterable[Ref]) -> dict[Ref, tuple[Any, Any]]:
    """Load each event with its predecessor, which holds the previous values."""
    ids: dict[str, list[int]] = defaultdict(list)
    for ref in refs:
        ids[ref.event].append(ref.id)
    loaded: dict[Ref, tuple[Any, Any]] = {}
    for label, event_ids in ids.items():
        event_model: Any = apps.get_model(label)
        rows = event_model.objects.filter(pgh_id__in=event_ids)
        if is_link(event_model):
            loaded.update((Ref(label, row.pgh_id), (row, None)) for row in rows)
            continue
        earlier = event_model.objects.filter(pgh_obj_id=OuterRef("pgh_obj_id"), pgh_id__lt=OuterRef("pgh_id"))
        complete = earlier.exclude(pgh_label__endswith=CHANGED).order_by("-pgh_id")
        rows = list(rows.annotate(before_id=Subquery(complete.values("pgh_id")[:1])))
        before = event_model.objects.in_bulk([row.before_id for row in rows if row.before_id])
        loaded.update((Ref(label, row.pgh_id), (row, before.get(row.before_id))) for row in rows)
    return loaded


def _change(row: Any, before: Any, names: Names, of: type[Model] | None) -> DescribedChange:
    actor, through = _who(row.pgh_context, row.pgh_session)
    if is_link(type(row)):
        subject, fields = _link(row, names, of)
        kind = Kind.CHANGED
    else:
        subject, fields = subject_of(row, names), tuple(_fields(row, before, names))
        kind = KINDS.get(row.pgh_label, Kind.CHANGED)
    return DescribedChange(
        at=row.pgh_created_at, kind=kind, subject=subject, actor=actor, through=through, fields=fields
    )


def _who(context: Mapping[str, Any] | None, session: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return who made a change, and how; without a context from the hub, the database login."""
    if context is None:
        return OUTSIDE, f"database login {session['login']}" if session else ""
    path = context.get("path") or ""
    if path.startswith("/admin/"):
        return context.get("actor") or NOBODY, f"admin page {path}"
    if path.startswith("/api/"):
        return context.get("actor") or NOBODY, f"API {path}"
    return context.get("actor") or NOBODY, path or "background work"


def _link(row: Any, names: Names, of: type[Model] | None) -> tuple[str, tuple[FieldChange, ...]]:
    """Describe a change of a relation: the other side is the value added or removed."""
    sides = [field for field in _tracked_fields(type(row)) if field.is_relation]
    near = next((side for side in sides if of and _target(side) is of._meta.concrete_model), sides[0])
    (far,) = (side for side in sides if side is not near)
    text = _value(far, getattr(row, far.attname), names)
    change = FieldChange(
        capfirst(str(_target(far)._meta.verbose_name)),
        before=text if row.pgh_label == "removed" else None,
        after=text if row.pgh_label == "added" else None,
    )
    return _value(near, getattr(row, near.attname), names), (change,)


def _fields(row: Any, before: Any, names: Names) -> Iterable[FieldChange]:
    model = tracked_model(type(row))
    if row.pgh_label.endswith(CHANGED):
        secret = row.pgh_label.removesuffix(CHANGED)
        yield FieldChange(_label(model, secret), after="changed")
        return
    is_deleted = row.pgh_label == "delete"
    for field in _tracked_fields(type(row)):
        new = getattr(row, field.attname)
        if before is None or is_deleted or row.pgh_label in KINDS:
            yield from _whole_value(model, field, new, names, is_deleted=is_deleted)
        elif (old := getattr(before, field.attname)) != new:
            yield _field_change(model, field, old, new, names)


def _whole_value(
    model: type[Model], field: Any, value: Any, names: Names, *, is_deleted: bool
) -> Iterable[FieldChange]:
    """Describe one value of an added or deleted row; skip empty values."""
    if value in NOTHING:
        return
    if secret := _secret_set_at(model, field):
        value, field_name = "set", _label(model, secret)
    else:
        value, field_name = _value(_original(model, field), value, names), _label(model, field.name)
    yield FieldChange(field_name, before=value) if is_deleted else FieldChange(field_name, after=value)


def _field_change(model: type[Model], field: Any, old: Any, new: Any, names: Names) -> FieldChange:
    if secret := _secret_set_at(model, field):
        verb = "removed" if new is None else "set" if old is None else "changed"
        return FieldChange(_label(model, secret), after=verb)
    original = _original(model, field)
    return FieldChange(_label(model, field.name), _value(original, old, names), _value(original, new, names))


def _secret_set_at(model: type[Model], field: Any) -> str:
    """Return the secret whose `_set_at` column this is; "" for any other column."""
    name = str(field.name).removesuffix(SET_AT)
    return name if name != field.name and _has(model, name) else ""


def _has(model: type[Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _original(model: type[Model], field: Any) -> Any:
    return model._meta.get_field(field.name)


def _label(model: type[Model], name: str) -> str:
    return capfirst(str(getattr(model._meta.get_field(name), "verbose_name", name)))


def _tracked_fields(event_model: type[Event]) -> list[Any]:
    """Return the tracked model's own columns, without the primary key."""
    return [field for field in event_model._meta.fields if not field.name.startswith("pgh_") and field.name != "id"]


def _target(field: Any) -> type[Model]:
    model: type[Model] = field.remote_field.model._meta.concrete_model
    return model


def subject_of(row: Any, names: Names) -> str:
    """Return the row's display name at that time."""
    name = getattr(row, "username", None) or getattr(row, "name", None) or _historical_str(row)
    parents = [field for field in _tracked_fields(type(row)) if field.name in PARENTS]
    return " · ".join([*(_value(field, getattr(row, field.attname), names) for field in parents), name])


def _historical_str(row: Any) -> str:
    """Return the `str` of a row without a name, as of the event."""
    values = {field.attname: getattr(row, field.attname) for field in _tracked_fields(type(row))}
    return str(tracked_model(type(row))(**values))


def _value(field: Field[Any, Any], value: Any, names: Names) -> str:
    """Return a value as text."""
    if value in NOTHING:
        return EMPTY
    if isinstance(field, ForeignKey):
        return names.get(_target(field), {}).get(value, f"#{value}")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, list) and (base := getattr(field, "base_field", None)):
        return ", ".join(_value(base, item, names) for item in value)
    return _plain_text(value)


def _plain_text(value: Any) -> str:
    formatters: dict[type, Callable[[Any], str]] = {
        bool: lambda flag: "yes" if flag else "no",
        datetime: exact_time,
        date: formats.date_format,
        dict: lambda data: json.dumps(data, ensure_ascii=False, sort_keys=True),
        list: lambda items: json.dumps(items, ensure_ascii=False),
    }
    return formatters.get(type(value), str)(value)


def _names_of(rows: Iterable[Any]) -> dict[type[Model], dict[Any, str]]:
    """Return the names of the foreign keys' targets: the current name, or the last one of a deleted row."""
    targets: dict[type[Model], set[Any]] = defaultdict(set)
    for row in rows:
        for field in _tracked_fields(type(row)):
            if field.is_relation and (key := getattr(row, field.attname)) is not None:
                targets[_target(field)].add(key)
    return {model: _names(model, keys) for model, keys in targets.items()}


def _names(model: type[Model], keys: set[Any]) -> dict[Any, str]:
    relations = ["content_type"] if _has(model, "content_type") else []  # their names are part of a row's
    rows = model._default_manager.select_related(*relations).in_bulk(list(keys))
    names = {key: str(row) for key, row in rows.items()}
    deleted, event_model = keys - set(names), find_event_model(model)
    if deleted and event_model:
        events: Any = event_model.objects.filter(pgh_obj_id__in=deleted)  # type: ignore[misc]  # every such table has it
        for event in events.order_by("pgh_obj_id", "-pgh_id").distinct("pgh_obj_id"):
            names[event.pgh_obj_id] = subject_of(event, {})
    return names

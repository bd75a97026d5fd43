"""The history of the configuration, read: who changed what, from what to what, in words."""

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

EMPTY = "empty"
NOTHING: tuple[Any, ...] = (None, "", [], {}, "[]", "{}")  # some columns keep JSON as text
NOBODY = "nobody signed in"
OUTSIDE = "outside the hub, or in the background"
PARENTS = ("application", "provider", "user")
SET_AT = "_set_at"
CHANGED = "_changed"

Event = pghistory.models.Event
Names = Mapping[type[Model], Mapping[Any, str]]


class Kind(TextChoices):
    """What became of a row."""

    ADDED = "added", "Added"
    CHANGED = "changed", "Changed"
    DELETED = "deleted", "Deleted"
    FOUND = "found", "Found as the history began"


KINDS = {"insert": Kind.ADDED, "delete": Kind.DELETED, "found": Kind.FOUND}


@dataclass(frozen=True, slots=True)
class Ref:
    """One row of one table of events."""

    event: str
    id: int


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value, in words. Shape: `before` is None where there was none, or where it is not told; so is `after`."""

    name: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedChange:
    """One change of one row, in words."""

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
    """Whether it keeps what was put into what, rather than rows of their own."""
    return not hasattr(event_model, "pgh_obj")


def link_owner(event_model: type[Event]) -> tuple[type[Model], str]:
    """Return the model that a table of links is told of, and the column that names its row: the first of the two."""
    field = next(field for field in _kept(event_model) if field.is_relation)
    return _target(field), field.column


def find_event_model(model: type[Model]) -> type[Event] | None:
    """The table of events of a model's rows, if they are kept."""
    concrete = model._meta.concrete_model
    return next((e for e in event_models() if not is_link(e) and tracked_model(e) is concrete), None)


def newest_first(model: type[Model], pk: Any, *, offset: int, limit: int) -> list[Ref]:
    """The changes of one row, those of what it was put into or given included. Runs one query."""
    parts = [
        _refs(event_model.objects.filter(**{f"{name}_id": pk}), event_model)
        for event_model, name in _columns_naming(model)
    ]
    if not parts:
        return []
    found = reduce(lambda some, more: some.union(more, all=True), parts)
    rows = found.order_by("-pgh_created_at", "event", "-pgh_id")[offset : offset + limit]
    return [Ref(row["event"], row["pgh_id"]) for row in rows]


def _refs(events: QuerySet[Event], event_model: type[Event]) -> Any:
    label = Value(event_model._meta.label, output_field=CharField())
    return events.order_by().annotate(event=label).values("pgh_created_at", "event", "pgh_id")


def _columns_naming(model: type[Model]) -> Iterable[tuple[type[Event], str]]:
    """Each table of events that may tell of a row of this model, with its column that names the row."""
    concrete = model._meta.concrete_model
    for event_model in event_models():
        if not is_link(event_model):
            if tracked_model(event_model) is concrete:
                yield event_model, "pgh_obj"
            continue
        for field in _kept(event_model):
            if field.is_relation and _target(field) is concrete:
                yield event_model, field.name


def describe(refs: Sequence[Ref], *, of: type[Model] | None = None) -> list[DescribedChange]:
    """Put changes into words, in the order given; those of links as the model `of` sees them, if given.

    Runs at most two queries for each table of events, and two for each that their foreign keys point to.
    """
    found = _load(refs)
    names = _names_of([row for row, _ in found.values()] + [row for _, row in found.values() if row])
    told = {ref: _change(row, before, names, of) for ref, (row, before) in found.items()}
    return [told[ref] for ref in refs if ref in told]


def joined(changes: Iterable[DescribedChange]) -> list[DescribedChange]:
    """Tell as one what one act did to a row and its links, at one time."""
    acts: list[DescribedChange] = []
    for change in changes:
        last = acts[-1] if acts else None
        if last and _is_one_act(last, change):
            kind = change.kind if last.kind == Kind.CHANGED else last.kind
            acts[-1] = replace(last, kind=kind, fields=(*change.fields, *last.fields))
        else:
            acts.append(change)
    return acts


def _is_one_act(one: DescribedChange, other: DescribedChange) -> bool:
    is_same = (one.at, one.actor, one.through) == (other.at, other.actor, other.through)
    return is_same and Kind.CHANGED in (one.kind, other.kind)


def _load(refs: Iterable[Ref]) -> dict[Ref, tuple[Any, Any]]:
    """Each event, with the one that tells how its row was before."""
    ids: dict[str, list[int]] = defaultdict(list)
    for ref in refs:
        ids[ref.event].append(ref.id)
    found: dict[Ref, tuple[Any, Any]] = {}
    for label, wanted in ids.items():
        event_model: Any = apps.get_model(label)
        rows = event_model.objects.filter(pgh_id__in=wanted)
        if is_link(event_model):
            found.update((Ref(label, row.pgh_id), (row, None)) for row in rows)
            continue
        earlier = event_model.objects.filter(pgh_obj_id=OuterRef("pgh_obj_id"), pgh_id__lt=OuterRef("pgh_id"))
        whole = earlier.exclude(pgh_label__endswith=CHANGED).order_by("-pgh_id")
        rows = list(rows.annotate(before_id=Subquery(whole.values("pgh_id")[:1])))
        before = event_model.objects.in_bulk([row.before_id for row in rows if row.before_id])
        found.update((Ref(label, row.pgh_id), (row, before.get(row.before_id))) for row in rows)
    return found


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
    """Who made a change, and how: as the hub said, or where it said nothing, by the login that the database knows."""
    if context is None:
        return OUTSIDE, f"database login {session['login']}" if session else ""
    path = context.get("path") or ""
    if path.startswith("/admin/"):
        return context.get("actor") or NOBODY, f"admin page {path}"
    if path.startswith("/api/"):
        return context.get("actor") or NOBODY, f"API {path}"
    return context.get("actor") or NOBODY, path or "background work"


def _link(row: Any, names: Names, of: type[Model] | None) -> tuple[str, tuple[FieldChange, ...]]:
    """Tell of what was put where: seen from the one side, the other is what was added or removed."""
    sides = [field for field in _kept(type(row)) if field.is_relation]
    mine = next((side for side in sides if of and _target(side) is of._meta.concrete_model), sides[0])
    (other,) = (side for side in sides if side is not mine)
    spoken = _value(other, getattr(row, other.attname), names)
    what = FieldChange(
        capfirst(str(_target(other)._meta.verbose_name)),
        before=spoken if row.pgh_label == "removed" else None,
        after=spoken if row.pgh_label == "added" else None,
    )
    return _value(mine, getattr(row, mine.attname), names), (what,)


def _fields(row: Any, before: Any, names: Names) -> Iterable[FieldChange]:
    model = tracked_model(type(row))
    if row.pgh_label.endswith(CHANGED):
        secret = row.pgh_label.removesuffix(CHANGED)
        yield FieldChange(_label(model, secret), after="changed")
        return
    is_gone = row.pgh_label == "delete"
    for field in _kept(type(row)):
        new = getattr(row, field.attname)
        if before is None or is_gone or row.pgh_label in KINDS:
            yield from _whole(model, field, new, names, is_gone=is_gone)
        elif (old := getattr(before, field.attname)) != new:
            yield _changed(model, field, old, new, names)


def _whole(model: type[Model], field: Any, value: Any, names: Names, *, is_gone: bool) -> Iterable[FieldChange]:
    """One value of a row that came or went; what was left empty is not told."""
    if value in NOTHING:
        return
    if secret := _secret_set_at(model, field):
        value, field_name = "set", _label(model, secret)
    else:
        value, field_name = _value(_original(model, field), value, names), _label(model, field.name)
    yield FieldChange(field_name, before=value) if is_gone else FieldChange(field_name, after=value)


def _changed(model: type[Model], field: Any, old: Any, new: Any, names: Names) -> FieldChange:
    if secret := _secret_set_at(model, field):
        word = "removed" if new is None else "set" if old is None else "changed"
        return FieldChange(_label(model, secret), after=word)
    original = _original(model, field)
    return FieldChange(_label(model, field.name), _value(original, old, names), _value(original, new, names))


def _secret_set_at(model: type[Model], field: Any) -> str:
    """The name of the secret whose time of setting a column keeps; "" for every other column."""
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


def _kept(event_model: type[Event]) -> list[Any]:
    """The columns that are the tracked model's own, without its key."""
    return [field for field in event_model._meta.fields if not field.name.startswith("pgh_") and field.name != "id"]


def _target(field: Any) -> type[Model]:
    model: type[Model] = field.remote_field.model._meta.concrete_model
    return model


def subject_of(row: Any, names: Names) -> str:
    """What people call the row: by the names it had then."""
    name = getattr(row, "username", None) or getattr(row, "name", None) or _as_it_was(row)
    parents = [field for field in _kept(type(row)) if field.name in PARENTS]
    return " · ".join([*(_value(field, getattr(row, field.attname), names) for field in parents), name])


def _as_it_was(row: Any) -> str:
    """How a row that has no name calls itself."""
    return str(tracked_model(type(row))(**{field.attname: getattr(row, field.attname) for field in _kept(type(row))}))


def _value(field: Field[Any, Any], value: Any, names: Names) -> str:
    """One value in words."""
    if value in NOTHING:
        return EMPTY
    if isinstance(field, ForeignKey):
        return names.get(_target(field), {}).get(value, f"#{value}")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, list) and (base := getattr(field, "base_field", None)):
        return ", ".join(_value(base, item, names) for item in value)
    return _plain(value)


def _plain(value: Any) -> str:
    spoken: dict[type, Callable[[Any], str]] = {
        bool: lambda flag: "yes" if flag else "no",
        datetime: exact_time,
        date: formats.date_format,
        dict: lambda found: json.dumps(found, ensure_ascii=False, sort_keys=True),
        list: lambda found: json.dumps(found, ensure_ascii=False),
    }
    return spoken.get(type(value), str)(value)


def _names_of(rows: Iterable[Any]) -> dict[type[Model], dict[Any, str]]:
    """The names of what the rows' foreign keys point to: as it is called now, or was called last."""
    wanted: dict[type[Model], set[Any]] = defaultdict(set)
    for row in rows:
        for field in _kept(type(row)):
            if field.is_relation and (key := getattr(row, field.attname)) is not None:
                wanted[_target(field)].add(key)
    return {model: _names(model, keys) for model, keys in wanted.items()}


def _names(model: type[Model], keys: set[Any]) -> dict[Any, str]:
    rows = model._default_manager.select_related(*_parents_of(model)).in_bulk(list(keys))
    names = {key: str(row) for key, row in rows.items()}
    gone, event_model = keys - set(names), find_event_model(model)
    if gone and event_model:
        events: Any = event_model.objects.filter(pgh_obj_id__in=gone)  # type: ignore[misc]  # every such table has it
        for event in events.order_by("pgh_obj_id", "-pgh_id").distinct("pgh_obj_id"):
            names[event.pgh_obj_id] = subject_of(event, {})
    return names


def _parents_of(model: type[Model]) -> list[str]:
    """What the names of its rows are made of, besides themselves."""
    return ["content_type"] if _has(model, "content_type") else []

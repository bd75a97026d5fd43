"""All changes of the configuration, those of what is deleted included."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, FieldTextFilter, RangeDateTimeFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from llmhub.adminkit.read_only import ReadOnlyAdmin
from llmhub.history.describe import DescribedChange, Kind, Ref, describe, event_models, is_link, tracked_model
from llmhub.history.models import Change

FIELDS_SHOWN = 4
KIND_COLOURS = {
    Kind.ADDED.label: "success",
    Kind.CHANGED.label: "info",
    Kind.DELETED.label: "danger",
    Kind.FOUND.label: "primary",
}


def tracked_models() -> list[type[Model]]:
    return [tracked_model(event_model) for event_model in event_models() if not is_link(event_model)]


def visible_models(request: HttpRequest) -> list[type[Model]]:
    """The tracked models whose pages a user may open."""
    registry = admin.site._registry
    pages = [(model, registry[model]) for model in tracked_models() if model in registry]
    return [model for model, page in pages if page.has_view_or_change_permission(request)]


def history_url(change: Change) -> str:
    options = apps.get_model(change.model)._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_history", args=[quote(change.object_id)])


class ModelFilter(DropdownFilter):  # type: ignore[misc]  # untyped
    title = "kind of object"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(m._meta.label, capfirst(str(m._meta.verbose_name_plural))) for m in visible_models(request)]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Change]) -> QuerySet[Change]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class TimeFilter(RangeDateTimeFilter):  # type: ignore[misc]  # untyped
    """Takes times as UTC, and a date alone as its beginning."""

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Change]) -> QuerySet[Change]:
        since, until = (self._moment(end) for end in ("from", "to"))
        if since:
            queryset = queryset.filter(at__gte=since)
        return queryset.filter(at__lte=until) if until else queryset

    def _moment(self, end: str) -> datetime | None:
        day, time = (self.used_parameters.get(f"{self.parameter_name}_{end}_{part}") or "" for part in (0, 1))
        try:
            return forms.SplitDateTimeField(required=False).clean([day, time or "00:00:00"]) if day else None
        except ValidationError:
            return None


class TellingChangeList(ChangeList):
    """Puts the changes of a page into words, all at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        told = describe([Ref(row.event, row.event_id) for row in rows])
        for row, change in zip(rows, told, strict=True):
            row.told = change
        self.result_list = rows


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    list_display = ("at", "who", "kind_label", "subject", "what")
    list_display_links = ("at",)
    list_filter = (
        ModelFilter,
        ("kind", ChoicesDropdownFilter),
        ("actor", FieldTextFilter),
        ("at", TimeFilter),
    )
    list_filter_submit = True
    list_per_page = 25
    paginator = InfinitePaginator
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ("history/history.css",)}

    def has_view_permission(self, request: HttpRequest, _obj: Model | None = None) -> bool:
        return bool(visible_models(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Change]:
        changes: QuerySet[Change] = super().get_queryset(request)
        return changes.filter(model__in=[model._meta.label for model in visible_models(request)])

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ChangeList]:
        return TellingChangeList

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_kwargs: Any) -> HttpResponse:
        """Lead to the history that the change is a part of."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        change = self.get_object(request, unquote(object_id))
        if change is None:
            raise Http404
        return HttpResponseRedirect(history_url(change))

    def history_view(self, request: HttpRequest, object_id: str, _extra_context: Any = None) -> HttpResponse:
        return self.change_view(request, object_id)

    @admin.display(description="who")
    def who(self, row: Any) -> str:
        if not row.told.through:
            return str(row.told.actor)
        return format_html('{}<span class="change-through">{}</span>', row.told.actor, row.told.through)

    @display(description="what happened", label=KIND_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def kind_label(self, row: Any) -> str:
        return Kind(row.kind).label

    @admin.display(description="to what")
    def subject(self, row: Any) -> str:
        kind = capfirst(str(apps.get_model(row.model)._meta.verbose_name))
        words = '<a href="{}">{}</a><span class="change-through">{}</span>'
        return format_html(words, history_url(row), row.told.subject, kind)

    @admin.display(description="what")
    def what(self, row: Any) -> str:
        told: DescribedChange = row.told
        shown = replace(told, fields=told.fields[:FIELDS_SHOWN])
        return render_to_string(
            "history/change_fields.html", {"change": shown, "left_out": len(told.fields) - len(shown.fields)}
        )

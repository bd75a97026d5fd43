"""Admin list of all configuration changes, including those of deleted objects."""

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

MAX_LISTED_FIELDS = 4
KIND_COLOURS = {
    Kind.ADDED.label: "success",
    Kind.CHANGED.label: "info",
    Kind.DELETED.label: "danger",
    Kind.FOUND.label: "primary",
}


def tracked_models() -> list[type[Model]]:
    return [tracked_model(event_model) for event_model in event_models() if not is_link(event_model)]


def visible_models(request: HttpRequest) -> list[type[Model]]:
    """Return the tracked models that a user may view."""
    registry = admin.site._registry
    pages = [(model, registry[model]) for model in tracked_models() if model in registry]
    return [model for model, page in pages if page.has_view_or_change_permission(request)]


def history_url(change: Change) -> str:
    options = apps.get_model(change.model)._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_history", args=[quote(change.object_id)])


class ModelFilter(DropdownFilter):  # type: ignore[misc]  # untyped
    title = "object type"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(m._meta.label, capfirst(str(m._meta.verbose_name_plural))) for m in visible_models(request)]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Change]) -> QuerySet[Change]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class TimeFilter(RangeDateTimeFilter):  # type: ignore[misc]  # untyped
    """Filters by UTC times; a date alone means its start."""

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


class DescribedChangeList(ChangeList):
    """Describes all changes of a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        described = describe([Ref(row.event, row.event_id) for row in rows])
        for row, change in zip(rows, described, strict=True):
            row.described = change
        self.result_list = rows


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    list_display = ("at", "user", "kind_label", "subject", "details")
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
        return DescribedChangeList

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_kwargs: Any) -> HttpResponse:
        """Redirect to the history of the changed object."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        change = self.get_object(request, unquote(object_id))
        if change is None:
            raise Http404
        return HttpResponseRedirect(history_url(change))

    def history_view(self, request: HttpRequest, object_id: str, _extra_context: Any = None) -> HttpResponse:
        return self.change_view(request, object_id)

    @admin.display(description="user")
    def user(self, row: Any) -> str:
        if not row.described.through:
            return str(row.described.actor)
        return format_html('{}<span class="change-through">{}</span>', row.described.actor, row.described.through)

    @display(description="event", label=KIND_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def kind_label(self, row: Any) -> str:
        return Kind(row.kind).label

    @admin.display(description="target")
    def subject(self, row: Any) -> str:
        kind = capfirst(str(apps.get_model(row.model)._meta.verbose_name))
        template = '<a href="{}">{}</a><span class="change-through">{}</span>'
        return format_html(template, history_url(row), row.described.subject, kind)

    @admin.display(description="details")
    def details(self, row: Any) -> str:
        change: DescribedChange = row.described
        shortened = replace(change, fields=change.fields[:MAX_LISTED_FIELDS])
        return render_to_string(
            "history/change_fields.html", {"change": shortened, "left_out": len(change.fields) - len(shortened.fields)}
        )

"""Admin lists of tables with millions of rows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR
from django.core.paginator import Page
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from llmhub.adminkit.read_only import ReadOnlyAdmin

MAX_PAGES = 200


class BoundedPaginator(InfinitePaginator):  # type: ignore[misc]  # untyped
    """A paginator without a count, bounded because a large OFFSET is slow: filters lead further."""

    def page(self, number: int | str) -> Page[Any]:
        valid: int = self.validate_number(number)
        rows = self.rows((valid - 1) * self.per_page) if valid <= MAX_PAGES else []
        page: Page[Any] = self._get_page(rows, valid, self)
        return page

    def rows(self, skip: int) -> list[Any]:
        return list(self.object_list[skip : skip + self.per_page])


class UnsortedChangeList(ChangeList):  # type: ignore[misc]  # untyped
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Ignore the URL's ordering: any other order would read all rows."""
        self.params.pop(ORDER_VAR, None)
        ordering: list[Any] = super().get_ordering(request, queryset)
        return ordering


class LargeTableAdmin(ReadOnlyAdmin):
    """Lists rows without a count, in the one order that an index serves."""

    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ChangeList]:
        return UnsortedChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: ChangeList = super().get_changelist_instance(request)
        changelist.full_result_count = changelist.result_count  # else a placeholder would be shown as a count
        return changelist

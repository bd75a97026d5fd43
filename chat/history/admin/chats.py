"""The list of chats, and the page of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone

from chat.history.admin.chat_page import filters_query, get_page
from chat.history.admin.filters import ChatFilter, ChatFilterForm, search
from chat.history.models import Chat, ChatQuerySet
from chat.ledger.models import ChatContent, ContentKind
from chat.ledger.recorded_views import RecordedAdmin
from llmhub.adminkit.large_tables import BoundedPaginator


class HistoryPaginator(BoundedPaginator):
    """Pages of chats, read through the cheapest index."""

    form: ChatFilterForm

    def rows(self, skip: int) -> list[Chat]:
        if self.form.is_in_order:
            return super().rows(skip)
        chats: ChatQuerySet = self.object_list
        return chats.read_page(self.form.period_chats(now=timezone.now()), skip=skip, most=self.per_page)


@admin.register(Chat)
class ChatAdmin(RecordedAdmin):
    list_filter = (ChatFilter,)
    list_filter_submit = True
    search_fields = ("id",)
    search_help_text = "Exact id, end user or conversation"
    ordering = ("-id",)
    fields = ()

    class Media:
        css = {"all": ("chat/history.css",)}
        js = ("chat/history.js", "adminkit/copy.js")

    def chat_id(self, row: Chat) -> UUID:
        return row.pk

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        del value, request
        return lookup in ChatFilterForm.base_fields

    def get_search_results(
        self, _request: HttpRequest, chats: QuerySet[Chat], term: str
    ) -> tuple[QuerySet[Chat], bool]:
        assert isinstance(chats, ChatQuerySet)
        return search(chats, term), False

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HistoryPaginator:
        paginator = HistoryPaginator(*args, **kwargs)
        paginator.form = ChatFilterForm(request.GET)
        return paginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        filters = request.GET.copy()
        filters.pop(PAGE_VAR, None)
        context = {"list_query": filters_query(filters), "first_page": f"?{filters.urlencode()}"}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def get_urls(self) -> list[URLPattern]:
        raw = path("<uuid:chat_id>/<str:part>.json", self.admin_site.admin_view(self.raw_view), name="chat_chat_raw")
        return [raw, *super().get_urls()]

    def raw_view(self, request: HttpRequest, chat_id: UUID, part: str) -> HttpResponse:
        """Serve a stored request or answer as an attachment, which no browser renders as a page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if part not in ContentKind.values or not Chat.objects.filter(pk=chat_id).exists():
            raise Http404
        if not self.is_read_recorded(request, chat_id):
            return self.not_recorded(request)
        content = ChatContent.objects.filter(chat_id=chat_id, part=part).first()
        if content is None:
            raise Http404
        disposition = f'attachment; filename="chat-{chat_id}-{part}.json"'
        return HttpResponse(
            content.described(), content_type="application/json", headers={"Content-Disposition": disposition}
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Model | None = None, **kwargs: Any
    ) -> HttpResponse:
        assert isinstance(obj, Chat)
        context |= {"page": get_page(request, obj), "title": "Chat", "subtitle": str(obj.pk)}
        page: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return page

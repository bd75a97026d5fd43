"""Admin pages of the record: every read is recorded before anything is shown."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse

from chat.ledger.append import append_event
from chat.ledger.canonical import storable_text
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Read, Search
from llmhub.adminkit.large_tables import LargeTableAdmin
from llmhub.http.client_address import client_address


class RecordedAdmin(LargeTableAdmin):
    """Records each read before it shows anything; shows nothing if the ledger cannot be written."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = Search(
            actor=request.user.get_username(),
            source="admin",
            address=client_address(request) or None,
            filters={"list": self.opts.model_name or "", **_recordable_filters(request.GET)},
        )
        if not _is_recorded(search.entry()):
            return self.not_recorded(request)
        page: HttpResponse = super().changelist_view(request, extra_context)
        return page

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id)) if object_id else None
        chat_id = self.chat_id(row) if row else None
        if chat_id and not self.is_read_recorded(request, chat_id):
            return self.not_recorded(request)
        page: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return page

    def chat_id(self, _row: Any) -> UUID | None:
        """Return the id of the chat that a row is about, if any."""
        return None

    def is_read_recorded(self, request: HttpRequest, chat_id: UUID) -> bool:
        """Record that a chat is about to be shown; return whether that succeeded."""
        read = Read(
            chat_id=chat_id,
            actor=request.user.get_username(),
            source="admin",
            address=client_address(request) or None,
        )
        return _is_recorded(read.entry())

    def not_recorded(self, request: HttpRequest) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": "Not shown", "opts": self.opts}
        return TemplateResponse(request, "chat/not_recorded.html", context, status=503)


def _recordable_filters(query: QueryDict) -> dict[str, str]:
    """Return the filters of a query string, escaped so that any value can be recorded."""
    return {
        storable_text(name).encode("ascii", "backslashreplace").decode(): storable_text(", ".join(filter(None, values)))
        for name, values in query.lists()
        if any(values)
    }


def _is_recorded(entry: LedgerEntry) -> bool:
    try:
        append_event(entry)
    except LedgerUnavailableError:
        return False
    return True

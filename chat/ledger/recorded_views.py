"""What shows parts of the record: every look is recorded before anything is shown."""

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
from llmhub.adminkit.large_tables import UncountedAdmin
from llmhub.http.client_address import client_address


class RecordedAdmin(UncountedAdmin):
    """Shows nothing that it could not record having shown."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = Search(
            actor=request.user.get_username(),
            source="admin",
            address=client_address(request) or None,
            filters={"list": self.opts.model_name or "", **_asked_for(request.GET)},
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
        shown = self.get_object(request, unquote(object_id)) if object_id else None
        chat_id = self.chat_id(shown) if shown else None
        if chat_id and not self.is_look_recorded(request, chat_id):
            return self.not_recorded(request)
        page: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return page

    def chat_id(self, _shown: Any) -> UUID | None:
        """Return the chat that this row tells of, None if it tells of none."""
        return None

    def is_look_recorded(self, request: HttpRequest, chat_id: UUID) -> bool:
        """Record that a chat is about to be shown; say whether that could be done."""
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


def _asked_for(query: QueryDict) -> dict[str, str]:
    """Return what a query string filters by, in a form that can be recorded whatever it is."""
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

"""Admin pages of the ledger's events and writers."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesRadioFilter

from chat.ledger.models import LedgerEvent, LedgerWriterRecord
from chat.ledger.recorded_views import RecordedAdmin
from llmhub.adminkit.large_tables import LargeTableAdmin
from llmhub.adminkit.times import exact_time
from llmhub.adminkit.untrusted_text import escape_untrusted


@admin.register(LedgerEvent)
class LedgerEventAdmin(RecordedAdmin):
    list_display = ("time", "kind", "chat_link", "writer_id", "writer_seq")
    list_filter = (("kind", ChoicesRadioFilter),)
    list_filter_submit = True
    ordering = ("-id",)
    fields = ("id", "time", "kind", "chat_link", "writer_id", "writer_seq", "details", "leaf")

    class Media:
        css = {"all": ("chat/history.css",)}

    def chat_id(self, row: LedgerEvent) -> UUID | None:
        return row.chat_id

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        del value, request
        return lookup == "kind__exact"

    @admin.display(description="Time")
    def time(self, event: LedgerEvent) -> str:
        return format_html('<time title="{}">{}</time>', event.at.isoformat(), exact_time(event.at))

    @admin.display(description="Chat")
    def chat_link(self, event: LedgerEvent) -> str:
        if event.chat_id is None:
            return "–"
        url = reverse("admin:chat_chat_change", args=[event.chat_id])
        return format_html('<a class="text-link" href="{}">{}</a>', url, event.chat_id)

    @admin.display(description="Details")
    def details(self, event: LedgerEvent) -> SafeString:
        text = json.dumps(event.event, indent=2, ensure_ascii=False)
        return format_html('<pre class="chat-pre" tabindex="0">{}</pre>', escape_untrusted(text))

    @admin.display(description="Leaf hash")
    def leaf(self, event: LedgerEvent) -> str:
        return bytes(event.leaf_hash).hex()


@admin.register(LedgerWriterRecord)
class LedgerWriterRecordAdmin(LargeTableAdmin):
    list_display = ("role", "hostname", "pid", "started_at", "last_seen_at", "last_seq")

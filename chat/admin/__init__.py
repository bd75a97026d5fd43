"""The history of chats in the admin. Every look at it is recorded before anything is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from chat.admin.filters import ChatFilter, ChatFilterForm
from chat.admin.recorded import RecordedAdmin
from chat.models import Chat, ChatStatus, LedgerEvent, LedgerWriterSeat
from chat.transcripts import get_transcript
from llmhub.access.admin import ReadOnlyAdmin

STATUS_COLOURS = {
    ChatStatus.SUCCEEDED: "success",
    ChatStatus.STARTED: "info",
    ChatStatus.FAILED: "danger",
    ChatStatus.LOST: "danger",
    ChatStatus.REJECTED: "warning",
    ChatStatus.TRUNCATED: "warning",
    ChatStatus.CLIENT_DISCONNECTED: "warning",
}


@admin.register(Chat)
class ChatAdmin(RecordedAdmin):
    list_display = (
        "started_at",
        "status_label",
        "caller",
        "end_user",
        "provider",
        "model_name",
        "tokens",
        "cost",
        "latency",
    )
    list_filter = (ChatFilter,)
    list_filter_submit = True
    search_fields = ("id",)
    search_help_text = "The id of a chat, its end user or its conversation, as a whole."
    ordering = ("-id",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("transcript",)}),
        (
            "How it went",
            {"fields": ("status_label", "provider", "model_name", "finish", "error", "http_status", "attempt_table")},
        ),
        ("Who asked", {"fields": ("caller", "end_user", "conversation", "address", "dialect", "is_stream", "asked")}),
        ("Tokens and cost", {"fields": ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
                                        "usage_source", "cost")}),
        ("Times", {"fields": ("started_at", "finished_at", "latency", "first_token", "overhead")}),
        ("Record", {"fields": ("id", "event_table")}),
    )  # fmt: skip

    def chat_id(self, shown: Chat) -> UUID:
        return shown.pk

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        del value, request
        return lookup in ChatFilterForm.base_fields

    def get_search_results(
        self, _request: HttpRequest, chats: QuerySet[Chat], term: str
    ) -> tuple[QuerySet[Chat], bool]:
        term = term.strip()
        if not term:
            return chats, False
        found = Q(end_user=term) | Q(conversation=term)
        with suppress(ValueError):
            found |= Q(pk=UUID(term.removeprefix("chatcmpl-")))
        return chats.filter(found), False

    @display(description="status", label=STATUS_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def status_label(self, chat: Chat) -> str:
        return chat.status

    @admin.display(description="caller")
    def caller(self, chat: Chat) -> str:
        return chat.actor or (f"{chat.application} ({chat.api_key}…)" if chat.application else "-")

    @admin.display(description="asked for")
    def asked(self, chat: Chat) -> str:
        return " / ".join(part for part in (chat.asked_provider, chat.asked_model) if part) or "the default"

    @admin.display(description="tokens")
    def tokens(self, chat: Chat) -> int | None:
        if chat.prompt_tokens is None and chat.completion_tokens is None:
            return None
        return (chat.prompt_tokens or 0) + (chat.completion_tokens or 0)

    @admin.display(description="cost")
    def cost(self, chat: Chat) -> str | None:
        return None if chat.cost_usd is None else f"${chat.cost_usd:.6f}"

    @admin.display(description="latency")
    def latency(self, chat: Chat) -> str | None:
        return None if chat.latency_ms is None else f"{chat.latency_ms:,} ms"

    @admin.display(description="first token after")
    def first_token(self, chat: Chat) -> str | None:
        return None if chat.first_token_ms is None else f"{chat.first_token_ms:,} ms"

    @admin.display(description="time in the hub")
    def overhead(self, chat: Chat) -> str | None:
        return None if chat.overhead_us is None else f"{chat.overhead_us / 1000:,.1f} ms"

    @admin.display(description="finish reason")
    def finish(self, chat: Chat) -> str | None:
        native = chat.native_finish_reason
        return f"{chat.finish_reason} ({native})" if native and native != chat.finish_reason else chat.finish_reason

    @admin.display(description="error")
    def error(self, chat: Chat) -> str:
        return ", ".join(word for word in (chat.error_type, chat.error_code) if word)

    @admin.display(description="transcript")
    def transcript(self, chat: Chat) -> SafeString:
        turns = [{"role": turn["role"], "text": turn_text(turn)} for turn in get_transcript(chat.pk).turns]
        return render_to_string("chat/transcript.html", {"turns": turns})

    @admin.display(description="attempts")
    def attempt_table(self, chat: Chat) -> SafeString:
        attempts = get_transcript(chat.pk).explain(chat.attempts)
        return render_to_string("chat/attempts.html", {"attempts": attempts})

    @admin.display(description="events")
    def event_table(self, chat: Chat) -> SafeString:
        return render_to_string("chat/events.html", {"events": chat.events()})


def turn_text(turn: dict[str, Any]) -> str:
    """Return a turn as text: what is said, then its parts and tool calls as they were sent."""
    return "\n".join(_pieces(turn))


def _pieces(turn: dict[str, Any]) -> Iterator[str]:
    content = turn["content"]
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
        elif part is not None:
            yield part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, indent=2)
    for name in ("refusal", "reasoning_content", "tool_calls"):
        if turn.get(name):
            yield f"{name}: {json.dumps(turn[name], ensure_ascii=False, indent=2)}"


@admin.register(LedgerEvent)
class LedgerEventAdmin(RecordedAdmin):
    list_display = ("at", "kind", "chat_id_text", "writer_id", "writer_seq")
    list_filter = ("kind",)
    ordering = ("-id",)
    sortable_by = ()
    fields = ("id", "at", "kind", "chat_id_text", "writer_id", "writer_seq", "said", "leaf")

    def chat_id(self, shown: LedgerEvent) -> UUID | None:
        return shown.chat_id

    @admin.display(description="chat")
    def chat_id_text(self, event: LedgerEvent) -> str:
        return str(event.chat_id or "")

    @admin.display(description="event")
    def said(self, event: LedgerEvent) -> SafeString:
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', json.dumps(event.event, indent=2))

    @admin.display(description="leaf hash")
    def leaf(self, event: LedgerEvent) -> str:
        return bytes(event.leaf_hash).hex()


@admin.register(LedgerWriterSeat)
class LedgerWriterSeatAdmin(ReadOnlyAdmin):
    list_display = ("role", "hostname", "pid", "started_at", "last_seen_at", "last_seq")
    paginator = InfinitePaginator

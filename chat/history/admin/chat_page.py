"""The context of one chat's page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone

from chat.history.admin.filters import ChatFilterForm, search
from chat.history.admin.messages import MAX_MESSAGES, ShownMessage, pretty_json, shown_messages
from chat.history.links import chats_url
from chat.history.models import Chat
from chat.history.transcripts import Body, get_transcript
from chat.ledger.models import ContentKind, LedgerEvent
from providers.types import JSONObject

MAX_EVENTS = 100
MAX_RAW_CHARS = 50_000
FILTERS = "_changelist_filters"
TITLES = {ContentKind.REQUEST: "Raw request", ContentKind.RESPONSE: "Raw response"}


@dataclass(frozen=True, slots=True)
class RawBody:
    """A stored body. Shape: `text` is pretty-printed if it is JSON, and truncated; `url` serves the whole body."""

    title: str
    text: str
    is_cut: bool
    chars: int
    size_bytes: int
    has_files: bool
    url: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The URLs of the chats before and after one; None where there is none."""

    newer: str | None
    older: str | None
    earlier_in_conversation: str | None
    later_in_conversation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPage:
    chat: Chat
    messages: list[ShownMessage]
    messages_left_out: int
    attempts: list[JSONObject]
    raws: list[RawBody]
    events: list[LedgerEvent]
    events_left_out: bool
    neighbours: Neighbours
    list_url: str
    is_list_filtered: bool
    conversation_url: str
    permalink: str


def get_page(request: HttpRequest, chat: Chat) -> ChatPage:
    """Load everything that a chat's page shows; the caller records the read first. Runs at most six short queries."""
    transcript = get_transcript(chat.pk)
    events = list(chat.events()[: MAX_EVENTS + 1])
    list_query = QueryDict(request.GET.get(FILTERS, ""))
    return ChatPage(
        chat=chat,
        messages=shown_messages(transcript.turns[-MAX_MESSAGES:]),
        messages_left_out=max(0, len(transcript.turns) - MAX_MESSAGES),
        attempts=transcript.explain(chat.attempts),
        raws=[_raw_body(chat, kind, transcript.bodies[kind]) for kind in ContentKind if kind in transcript.bodies],
        events=events[:MAX_EVENTS],
        events_left_out=len(events) > MAX_EVENTS,
        neighbours=_neighbours(chat, list_query),
        list_url=chats_url() + (f"?{list_query.urlencode()}" if list_query else ""),
        is_list_filtered=bool(list_query),
        conversation_url=chats_url(conversation=chat.conversation, application=chat.application),
        permalink=request.build_absolute_uri(chat_url(chat.pk)),
    )


def chat_url(pk: Any, list_query: QueryDict | None = None) -> str:
    return reverse("admin:chat_chat_change", args=[pk]) + (filters_query(list_query) if list_query else "")


def filters_query(list_query: QueryDict) -> str:
    """Return the query string that links a chat's page back to its filtered list."""
    return f"?{urlencode({FILTERS: list_query.urlencode()})}" if list_query else ""


def _neighbours(chat: Chat, list_query: QueryDict) -> Neighbours:
    related = Chat.objects.filter(conversation=chat.conversation, application=chat.application, actor=chat.actor)
    related = related if chat.conversation else related.none()
    return Neighbours(
        newer=_first_url(_next_in_list(chat, list_query, is_newer=True), list_query),
        older=_first_url(_next_in_list(chat, list_query, is_newer=False), list_query),
        earlier_in_conversation=_first_url(related.filter(pk__lt=chat.pk).order_by("-pk")[:1], list_query),
        later_in_conversation=_first_url(related.filter(pk__gt=chat.pk).order_by("pk")[:1], list_query),
    )


def _next_in_list(chat: Chat, list_query: QueryDict, *, is_newer: bool) -> Iterable[Chat]:
    """Return the adjacent chat of the list in one direction, if any."""
    form, side = ChatFilterForm(list_query), {"pk__gt" if is_newer else "pk__lt": chat.pk}
    chats = search(form.filter_chats(Chat.objects.filter(**side), now=timezone.now()), list_query.get("q", ""))
    if form.is_in_order:
        return chats.order_by("pk" if is_newer else "-pk")[:1]
    return chats.read_page(Chat.objects.filter(**side), most=1, is_newest_first=not is_newer)


def _first_url(chats: Iterable[Chat], list_query: QueryDict) -> str | None:
    return next((chat_url(chat.pk, list_query) for chat in chats), None)


def _raw_body(chat: Chat, kind: ContentKind, body: Body) -> RawBody:
    text = pretty_json(body.text) or body.text
    return RawBody(
        title=TITLES[kind],
        text=text[:MAX_RAW_CHARS],
        is_cut=len(text) > MAX_RAW_CHARS,
        chars=len(text),
        size_bytes=body.size_bytes,
        has_files=body.has_files,
        url=reverse("admin:chat_chat_raw", args=[chat.pk, kind]),
    )

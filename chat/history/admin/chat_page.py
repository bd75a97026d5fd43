"""What the page of one chat shows, put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone

from chat.history.admin.filters import ChatFilterForm, search
from chat.history.admin.messages import MAX_SHOWN_TURNS, ShownMessage, pretty_json, shown_turns
from chat.history.links import chats_url
from chat.history.models import Chat
from chat.history.transcripts import Body, Transcript, get_transcript
from chat.ledger.models import ContentKind, LedgerEvent
from providers.types import JSONObject

MAX_EVENTS = 100
MAX_RAW_CHARS = 50_000
FILTERS = "_changelist_filters"
TITLES = {ContentKind.REQUEST: "Raw request", ContentKind.RESPONSE: "Raw response"}


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it is kept. Shape: `text` is laid out if it can be, and cut; `url` leads to all of it."""

    title: str
    text: str
    is_cut: bool
    chars: int
    size_bytes: int
    has_files: bool
    url: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The addresses of the chats before and after one; None where there is none."""

    newer: str | None
    older: str | None
    earlier_in_conversation: str | None
    later_in_conversation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPage:
    chat: Chat
    turns: list[ShownMessage]
    turns_left_out: int
    attempts: list[JSONObject]
    raws: list[Raw]
    events: list[LedgerEvent]
    events_left_out: bool
    neighbours: Neighbours
    list_url: str
    is_list_filtered: bool
    conversation_url: str
    permalink: str


def get_page(request: HttpRequest, chat: Chat) -> ChatPage:
    """Read all that is shown of a chat: whoever shows it records that first. Runs six short queries at most."""
    transcript = get_transcript(chat.pk)
    events = list(chat.events()[: MAX_EVENTS + 1])
    came_from = QueryDict(request.GET.get(FILTERS, ""))
    return ChatPage(
        chat=chat,
        turns=shown_turns(transcript.turns[-MAX_SHOWN_TURNS:]),
        turns_left_out=max(0, len(transcript.turns) - MAX_SHOWN_TURNS),
        attempts=transcript.explain(chat.attempts),
        raws=_raws(chat, transcript),
        events=events[:MAX_EVENTS],
        events_left_out=len(events) > MAX_EVENTS,
        neighbours=_neighbours(chat, came_from),
        list_url=chats_url() + (f"?{came_from.urlencode()}" if came_from else ""),
        is_list_filtered=bool(came_from),
        conversation_url=chats_url(conversation=chat.conversation, application=chat.application),
        permalink=request.build_absolute_uri(chat_url(chat.pk)),
    )


def chat_url(pk: Any, came_from: QueryDict | None = None) -> str:
    return reverse("admin:chat_chat_change", args=[pk]) + (filters_query(came_from) if came_from else "")


def filters_query(came_from: QueryDict) -> str:
    """Return the query string by which the page of a chat knows the list that it was opened from."""
    return f"?{urlencode({FILTERS: came_from.urlencode()})}" if came_from else ""


def _neighbours(chat: Chat, came_from: QueryDict) -> Neighbours:
    talk = Chat.objects.filter(conversation=chat.conversation, application=chat.application, actor=chat.actor)
    talk = talk if chat.conversation else talk.none()
    return Neighbours(
        newer=_url(_beside(chat, came_from, is_newer=True), came_from),
        older=_url(_beside(chat, came_from, is_newer=False), came_from),
        earlier_in_conversation=_url(talk.filter(pk__lt=chat.pk).order_by("-pk")[:1], came_from),
        later_in_conversation=_url(talk.filter(pk__gt=chat.pk).order_by("pk")[:1], came_from),
    )


def _beside(chat: Chat, came_from: QueryDict, *, is_newer: bool) -> Iterable[Chat]:
    """Return the next of the list in one direction, if there is one."""
    form, side = ChatFilterForm(came_from), {"pk__gt" if is_newer else "pk__lt": chat.pk}
    listed = search(form.narrow(Chat.objects.filter(**side), now=timezone.now()), came_from.get("q", ""))
    if form.is_in_order:
        return listed.order_by("pk" if is_newer else "-pk")[:1]
    return listed.first_of(Chat.objects.filter(**side), most=1, is_newest_first=not is_newer)


def _url(found: Iterable[Chat], came_from: QueryDict) -> str | None:
    return next((chat_url(chat.pk, came_from) for chat in found), None)


def _raws(chat: Chat, transcript: Transcript) -> list[Raw]:
    return [_raw(chat, part, transcript.bodies[part]) for part in ContentKind if part in transcript.bodies]


def _raw(chat: Chat, part: ContentKind, body: Body) -> Raw:
    text = pretty_json(body.text) or body.text
    return Raw(
        title=TITLES[part],
        text=text[:MAX_RAW_CHARS],
        is_cut=len(text) > MAX_RAW_CHARS,
        chars=len(text),
        size_bytes=body.size_bytes,
        has_files=body.has_files,
        url=reverse("admin:chat_chat_raw", args=[chat.pk, part]),
    )

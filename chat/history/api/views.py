"""The audit API over the history of chats. Every read is itself recorded first."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat.history.api import serializers
from chat.history.models import Chat, ChatQuerySet
from chat.history.transcripts import get_transcript
from chat.ledger.append import append_event
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Read, Search
from chat.ledger.models import ChatStatus
from llmhub.access.authentication import request_principal
from llmhub.access.principals import Principal, Scope
from llmhub.http.client_address import client_address
from llmhub.http.serializers import ErrorSerializer
from providers.pricing import NANO

INVALID_STATUS = {"invalid_choice": f"`%(value)s` is none of {', '.join(ChatStatus.values)}."}
INVALID_TIME = {"invalid": "A time is needed, such as 2026-11-22T16:00:00Z."}
ERROR_RESPONSES = {401: ErrorSerializer, 403: ErrorSerializer, 503: ErrorSerializer}


class RecordUnavailableError(APIException):
    status_code = 503
    default_detail = "This look into the history cannot be recorded now, so nothing is shown."
    default_code = "record_unavailable"


class ChatFilterSet(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    app = django_filters.CharFilter("application", label="Name of the application.")
    key = django_filters.CharFilter("api_key", label="Prefix of the API key.")
    user = django_filters.CharFilter("end_user", label="End user.")
    provider = django_filters.CharFilter("provider", label="Provider that answered.")
    model = django_filters.CharFilter("model_name", label="Model that answered.")
    conversation = django_filters.CharFilter("conversation", label="Conversation.")
    status = django_filters.ChoiceFilter(
        choices=ChatStatus.choices, label="How the chat ended.", error_messages=INVALID_STATUS
    )
    since = django_filters.IsoDateTimeFilter(
        method="started_since", label="Started then or later.", error_messages=INVALID_TIME
    )
    until = django_filters.IsoDateTimeFilter(
        method="started_until", label="Started before.", error_messages=INVALID_TIME
    )
    min_cost = django_filters.NumberFilter(method="cost_at_least", label="Cost at least so much, in USD.")

    def started_since(self, chats: ChatQuerySet, _name: str, at: Any) -> ChatQuerySet:
        return chats.between(since=at)

    def started_until(self, chats: ChatQuerySet, _name: str, at: Any) -> ChatQuerySet:
        return chats.between(until=at)

    def cost_at_least(self, chats: ChatQuerySet, _name: str, usd: Decimal) -> ChatQuerySet:
        nano_usd = int((usd * NANO).to_integral_value(ROUND_CEILING))
        return chats.filter(cost_nano_usd__gte=nano_usd)


class ChatPagination(CursorPagination):
    """Cursor pagination, newest first, without a count: every page costs the same."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    page_size_query_description = "How many chats to show at most."
    max_page_size = 500

    def get_page_size(self, request: Request) -> int:
        limit = request.query_params.get("limit", str(self.page_size))
        size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0
        if 0 < size <= self.max_page_size:
            return size
        raise ValidationError({"limit": [f"A whole number from 1 to {self.max_page_size}."]})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return parameters

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                UUID(str(cursor.position))
        except (NotFound, ValueError):
            raise ValidationError({"cursor": ["Not a cursor that this list gave."]}) from None
        return cursor


class ChatsView(ListAPIView[Chat]):
    scopes = {"GET": Scope.AUDIT_READ}
    queryset = Chat.objects.all()
    serializer_class = serializers.ChatSummary
    filterset_class = ChatFilterSet
    pagination_class = ChatPagination

    @extend_schema(
        summary="Search the history of chats",
        description=(
            "Newest first: the chats of the key's application, or with the scope `audit:read:all` everybody's. "
            "The search itself is recorded before anything is shown."
        ),
        responses={200: serializers.ChatSummary(many=True), 400: ErrorSerializer} | ERROR_RESPONSES,
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def filter_queryset(self, queryset: QuerySet[Chat, Any]) -> QuerySet[Chat, Any]:
        """Filter the list, and record the search before it runs."""
        params = self.request.query_params
        if unknown := sorted(set(params) - {*ChatFilterSet.base_filters, "cursor", "limit"}):
            raise ValidationError({name[:100]: ["There is no such filter."] for name in unknown})
        caller = _caller(self.request)
        application = _only_application(caller)
        chats = super().filter_queryset(queryset if application is None else queryset.filter(application=application))
        search = Search(
            actor=caller.name,
            application=caller.application,
            source="api",
            address=client_address(self.request) or None,
            filters={name: str(value) for name, value in params.items()},
        )
        _record(search.entry())
        return chats


class ChatView(APIView):
    scopes = {"GET": Scope.AUDIT_READ}

    @extend_schema(
        summary="Read a chat",
        description=(
            "The transcript, every attempt and the ledger's events. The reading itself is recorded first, and so is "
            "the try to read another application's chat, which takes the scope `audit:read:all`."
        ),
        responses={200: serializers.ChatDetail, 404: ErrorSerializer} | ERROR_RESPONSES,
    )
    def get(self, request: Request, chat_id: str) -> Response:
        chat = _get_chat(chat_id)
        caller = _caller(request)
        is_permitted = _only_application(caller) in (None, chat.application)
        read = Read(
            chat_id=chat.pk,
            actor=caller.name,
            application=caller.application,
            source="api",
            address=client_address(request) or None,
            is_refused=not is_permitted,
        )
        _record(read.entry())
        if not is_permitted:
            raise _not_found()
        return Response(_detail(chat))


def _get_chat(chat_id: str) -> Chat:
    try:
        return Chat.objects.get(pk=UUID(chat_id))
    except (ValueError, Chat.DoesNotExist):
        raise _not_found() from None


def _not_found() -> NotFound:
    return NotFound("There is no such chat.", code="chat_not_found")


def _only_application(caller: Principal) -> str | None:
    """Return the only application whose chats a caller may read; None if the caller may read all."""
    if caller.has(Scope.AUDIT_READ_ALL):
        return None
    assert caller.application
    return caller.application


def _caller(request: Request) -> Principal:
    principal = request_principal(request)
    assert principal is not None
    return principal


def _record(entry: LedgerEntry) -> None:
    try:
        append_event(entry)
    except LedgerUnavailableError:
        raise RecordUnavailableError from None


def _detail(chat: Chat) -> dict[str, Any]:
    """Shape: `serializers.ChatDetail`. Runs two queries."""
    transcript = get_transcript(chat.pk)
    return {
        **serializers.ChatSummary(chat).data,
        "attempts": transcript.explain(chat.attempts),
        "transcript": transcript.turns,
        "events": serializers.ChatEvent(chat.events(), many=True).data,
    }

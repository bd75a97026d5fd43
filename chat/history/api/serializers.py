"""Recorded chats as the API returns them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from chat.history.models import Chat
from chat.ledger.models import EventKind, LedgerEvent


class TextOrNull(serializers.CharField):
    """Text that is empty in the database when unknown, and null in the API."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_representation(self, value: str) -> str | None:  # type: ignore[override]  # a null in place of empty text
        return value or None


class RequestedModelSerializer(serializers.Serializer[Chat]):
    provider = TextOrNull(source="asked_provider")
    model = TextOrNull(source="asked_model")


class Tokens(serializers.Serializer[Chat]):
    prompt = serializers.IntegerField(source="prompt_tokens", allow_null=True)
    completion = serializers.IntegerField(source="completion_tokens", allow_null=True)
    cached = serializers.IntegerField(source="cached_tokens", allow_null=True)
    reasoning = serializers.IntegerField(source="reasoning_tokens", allow_null=True)
    source = TextOrNull(source="usage_source")  # type: ignore[assignment]  # a field named as an attribute of all fields


class Times(serializers.Serializer[Chat]):
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    first_token_ms = serializers.IntegerField(allow_null=True)
    overhead_us = serializers.IntegerField(allow_null=True)


class ChatError(serializers.Serializer[Chat]):
    type = serializers.CharField(source="error_type")
    code = TextOrNull(source="error_code")


class Sent(serializers.Serializer[Mapping[str, Any]]):
    bytes = serializers.IntegerField(help_text="The size of the body.")
    commit = serializers.CharField(
        allow_null=True, help_text="HMAC-SHA256 of the body under the salt of the chat's request, in hex."
    )


class ChatAttempt(serializers.Serializer[Mapping[str, Any]]):
    provider = serializers.CharField()
    model = serializers.CharField()
    ok = serializers.BooleanField()
    error_type = serializers.CharField(allow_null=True)
    upstream_status = serializers.IntegerField(allow_null=True)
    upstream_request_id = serializers.CharField(allow_null=True)
    latency_ms = serializers.IntegerField()
    sent = Sent(many=True, help_text="The bodies that went to the provider.")


class ChatSummary(serializers.ModelSerializer[Chat]):
    """One chat, without its content."""

    application = TextOrNull()
    api_key = TextOrNull(help_text="The key's prefix.")
    actor = TextOrNull(help_text="The admin user who chatted without a key.")
    user = TextOrNull(source="end_user")
    conversation = TextOrNull()
    address = TextOrNull()
    stream = serializers.BooleanField(source="is_stream")
    asked = RequestedModelSerializer(source="*")
    provider = TextOrNull()
    model = TextOrNull(source="model_name")
    attempts = ChatAttempt(many=True)
    tokens = Tokens(source="*")
    cost_usd = serializers.FloatField(allow_null=True, help_text="Null when the price is not known.")
    finish_reason = TextOrNull()
    native_finish_reason = TextOrNull()
    error = serializers.SerializerMethodField()
    times = Times(source="*")

    class Meta:
        model = Chat
        fields = (
            "id",
            "status",
            "application",
            "api_key",
            "actor",
            "user",
            "conversation",
            "address",
            "dialect",
            "stream",
            "asked",
            "provider",
            "model",
            "attempts",
            "tokens",
            "cost_usd",
            "finish_reason",
            "native_finish_reason",
            "error",
            "http_status",
            "times",
        )

    @extend_schema_field(ChatError(allow_null=True))
    def get_error(self, chat: Chat) -> dict[str, Any] | None:
        return ChatError(chat).data if chat.error_type else None


class RecordedAttempt(ChatAttempt):
    error = serializers.CharField(allow_null=True, help_text="What the provider said.")


class TurnSerializer(serializers.Serializer[Mapping[str, Any]]):
    role = serializers.CharField(allow_null=True)
    content = serializers.JSONField(allow_null=True, help_text="Text, parts or null, as it was sent; files described.")


class ChatEvent(serializers.ModelSerializer[LedgerEvent]):
    kind = serializers.ChoiceField(choices=EventKind.choices)
    leaf_hash = serializers.SerializerMethodField(help_text="SHA-256 in hex.")
    repeats = serializers.SerializerMethodField(
        help_text="How many refused chats a `void` stands for that have no entry of their own; null: this chat alone."
    )

    class Meta:
        model = LedgerEvent
        fields = ("id", "kind", "at", "writer_id", "writer_seq", "leaf_hash", "repeats")

    def get_leaf_hash(self, event: LedgerEvent) -> str:
        return bytes(event.leaf_hash).hex()

    def get_repeats(self, event: LedgerEvent) -> int | None:
        return event.event.get("repeats")


class ChatDetail(ChatSummary):
    """One chat with all that is recorded of it."""

    transcript = TurnSerializer(many=True, help_text="The request's turns, then the answers.")
    attempts = RecordedAttempt(many=True)
    events = ChatEvent(many=True)

    class Meta:
        model = Chat
        fields = (*ChatSummary.Meta.fields, "transcript", "events")

from __future__ import annotations

import re
from decimal import Decimal

from django import template
from django.utils.safestring import SafeString

from chat.history.models import Chat
from chat.ledger.models import ChatStatus
from llmhub.adminkit.untrusted_text import escape_untrusted

register = template.Library()

UNKNOWN = "–"
ENDINGS = {
    (ChatStatus.STARTED, ""): "The chat is still running.",
    (ChatStatus.REJECTED, "record_unavailable"): "The request could not be recorded in time: no provider was called.",
    (ChatStatus.FAILED, "record_unavailable"): (
        "The outcome could not be recorded in time: the caller got an error in place of the answer, or of its end."
    ),
    (ChatStatus.FAILED, "hub_stopping"): "The hub was stopped before there was an answer.",
    (ChatStatus.TRUNCATED, "hub_stopping"): "The hub was stopped; the caller received the partial answer below.",
    (ChatStatus.TRUNCATED, "internal_error"): "The hub failed; the caller received at most the partial answer below.",
    (ChatStatus.TRUNCATED, "provider_timeout"): "The provider timed out; the caller received the partial answer below.",
    (ChatStatus.TRUNCATED, ""): "The provider ended the stream early; the caller received the partial answer below.",
    (ChatStatus.CLIENT_DISCONNECTED, ""): "The caller disconnected; it received at most the partial answer below.",
    (ChatStatus.LOST, ""): (
        "The hub's process ended or fell silent before it recorded the outcome: it is unknown whether a provider was "
        "called, and what the caller received."
    ),
}
"""Explanations of statuses, by status and error code."""


@register.filter
def untrusted(text: object) -> SafeString:
    return escape_untrusted("" if text is None else text)


@register.filter
def tokens(chat: Chat) -> str:
    """Return the tokens of prompt and completion together."""
    if chat.prompt_tokens is None and chat.completion_tokens is None:
        return UNKNOWN
    return f"{(chat.prompt_tokens or 0) + (chat.completion_tokens or 0):,}"


@register.filter
def cost(chat: Chat) -> str:
    """Return a chat's cost; small amounts get six decimal places, lest they round to nothing."""
    if chat.cost_usd is None:
        return UNKNOWN
    return f"${chat.cost_usd:.6f}" if chat.cost_usd < Decimal(1) else f"${chat.cost_usd:,.2f}"


@register.filter
def number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


@register.filter
def ms(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,} ms"


@register.filter
def us_as_ms(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / 1000:,.1f} ms"


@register.filter
def error_phrase(error_type: str) -> str:
    """Return `RequestRejectedError` as `request rejected`."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", error_type.removesuffix("Error"))
    return " ".join(parts).lower() or error_type


@register.filter
def ending_text(chat: Chat) -> str:
    """Explain how a chat ended; empty if its status says it all."""
    status = ChatStatus(chat.status)
    return ENDINGS.get((status, chat.error_code)) or ENDINGS.get((status, ""), "")


@register.filter
def hexadecimal(value: bytes | memoryview) -> str:
    return bytes(value).hex()

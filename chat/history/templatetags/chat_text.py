from __future__ import annotations

import re
from decimal import Decimal

from django import template
from django.utils.safestring import SafeString

from chat.history.models import Chat
from chat.ledger.models import ChatStatus
from llmhub.adminkit.untrusted_text import inert

register = template.Library()

UNKNOWN = "–"
ENDINGS = {
    (ChatStatus.STARTED, ""): "It has not ended yet.",
    (ChatStatus.REJECTED, "record_unavailable"): "The request could not be recorded in time: no provider was asked.",
    (ChatStatus.FAILED, "record_unavailable"): (
        "The outcome could not be recorded in time: the caller got an error in place of the answer, or of its end."
    ),
    (ChatStatus.FAILED, "hub_stopping"): "The hub was stopped before there was an answer.",
    (ChatStatus.TRUNCATED, "hub_stopping"): "The hub was stopped; of the answer the caller got what stands below.",
    (ChatStatus.TRUNCATED, "internal_error"): "The hub failed; of the answer the caller got no more than stands below.",
    (ChatStatus.TRUNCATED, "provider_timeout"): "The time was up; of the answer the caller got what stands below.",
    (ChatStatus.TRUNCATED, ""): "The provider broke off; of the answer the caller got what stands below.",
    (ChatStatus.CLIENT_DISCONNECTED, ""): "The caller went away; of the answer it got no more than stands below.",
    (ChatStatus.LOST, ""): (
        "The hub's process ended or fell silent before it recorded how this chat went: whether a provider was asked, "
        "and what the caller got, is not known."
    ),
}
"""What a status means, by status and error code, where neither says it."""


@register.filter(name="inert")
def inert_filter(text: object) -> SafeString:
    return inert("" if text is None else text)


@register.filter
def tokens(chat: Chat) -> str:
    """Return the question's and the answer's tokens together."""
    if chat.prompt_tokens is None and chat.completion_tokens is None:
        return UNKNOWN
    return f"{(chat.prompt_tokens or 0) + (chat.completion_tokens or 0):,}"


@register.filter
def cost(chat: Chat) -> str:
    """Return what a chat cost, with as many places as it takes not to round a small amount to nothing."""
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
def fault_words(error_type: str) -> str:
    """Return `RequestRejectedError` as `request rejected`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", error_type.removesuffix("Error"))
    return " ".join(words).lower() or error_type


@register.filter
def ending(chat: Chat) -> str:
    """Return what is to be known of how a chat ended, or nothing."""
    status = ChatStatus(chat.status)
    return ENDINGS.get((status, chat.error_code)) or ENDINGS.get((status, ""), "")


@register.filter
def hexadecimal(value: bytes | memoryview) -> str:
    return bytes(value).hex()

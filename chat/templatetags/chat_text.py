from __future__ import annotations

import re
from decimal import Decimal

from django import template
from django.utils.safestring import SafeString

from chat.inert import inert
from chat.models import Chat

register = template.Library()

UNKNOWN = "–"


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
def hexadecimal(value: bytes | memoryview) -> str:
    return bytes(value).hex()

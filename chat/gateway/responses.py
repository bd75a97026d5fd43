"""Answers over HTTP, with the headers of every chat."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.http import HttpResponse

from chat.gateway.exchange import Exchange
from providers.types import JSONObject
from providers.wire.rendering import dump_json


def chat_headers(exchange: Exchange) -> dict[str, str]:
    attempts, response = exchange.attempts, exchange.response
    cost = Decimal(0) if not attempts.candidate else attempts.cost_usd(response.usage) if response else None
    headers = {
        "x-request-id": str(exchange.chat_id),
        "request-id": str(exchange.chat_id),
        "x-llmhub-provider": header_value(attempts.provider or ""),
        "x-llmhub-model": header_value(attempts.model_name or ""),
        "x-llmhub-attempts": str(attempts.attempt_count),
        "x-llmhub-cost-usd": "unknown" if cost is None else f"{cost:f}",
        "x-llmhub-overhead-ms": f"{exchange.overhead_s * 1000:.2f}",
    }
    if exchange.dropped_params:
        headers["x-llmhub-dropped-params"] = header_value(",".join(exchange.dropped_params))
    return headers


def header_value(text: str) -> str:
    """Return text as a header can carry it: nothing of it ends the header."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in text)


def json_response(body: JSONObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return whole_response(dump_json(body), status=status, headers=headers)


def whole_response(answer_json: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(answer_json, status=status, content_type="application/json", headers=headers)

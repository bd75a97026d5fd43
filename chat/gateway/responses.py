"""Answers over HTTP: the headers of every chat, streams, and failures by the one table."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.http import HttpResponse

from chat.gateway.incoming import MediaTypeError
from chat.gateway.pipeline import ChatCall
from chat.ledger.errors import LedgerUnavailableError
from llmhub.http.request_bodies import BodyTooLargeError, BodyTooSlowError
from llmhub.runtime.memory_budget import LargerThanBudgetError, MemoryBudgetExceededError
from providers.error_table import ERROR_SPECS, ErrorSpec, ServedError, served_error
from providers.types import ChatResponse, JSONObject
from providers.wire.encoding import dump
from providers.wire.validation import BadRequestError

SERVED: Mapping[type[Exception], ErrorSpec] = {
    **ERROR_SPECS,
    BadRequestError: ErrorSpec(400, "invalid_request_error", should_retry=False),
    BodyTooLargeError: ErrorSpec(413, "invalid_request_error", "request_too_large", should_retry=False),
    BodyTooSlowError: ErrorSpec(408, "invalid_request_error", "request_timeout"),
    LargerThanBudgetError: ErrorSpec(413, "invalid_request_error", "request_too_large", should_retry=False),
    MediaTypeError: ErrorSpec(415, "invalid_request_error", "unsupported_media_type", should_retry=False),
    MemoryBudgetExceededError: ErrorSpec(503, "server_error", "hub_overloaded"),
    LedgerUnavailableError: ErrorSpec(503, "server_error", "record_unavailable"),
}


def served_problem(error: Exception) -> ServedError:
    return served_error(error, SERVED)


def chat_headers(call: ChatCall, response: ChatResponse | None = None) -> dict[str, str]:
    journey = call.journey
    cost = Decimal(0) if not journey.candidate else journey.cost_usd(response.usage) if response else None
    headers = {
        "x-request-id": str(call.chat_id),
        "request-id": str(call.chat_id),
        "x-llmhub-provider": header_value(journey.provider or ""),
        "x-llmhub-model": header_value(journey.model_name or ""),
        "x-llmhub-attempts": str(journey.attempt_count),
        "x-llmhub-cost-usd": "unknown" if cost is None else f"{cost:f}",
        "x-llmhub-overhead-ms": f"{call.overhead_s * 1000:.2f}",
    }
    if call.dropped_params:
        headers["x-llmhub-dropped-params"] = header_value(",".join(call.dropped_params))
    return headers


def header_value(text: str) -> str:
    """Return text as a header can carry it: nothing of it ends the header."""
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in text)


def json_response(body: JSONObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return whole_response(dump(body), status=status, headers=headers)


def whole_response(answer_json: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(answer_json, status=status, content_type="application/json", headers=headers)

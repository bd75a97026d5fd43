"""Refusals in OpenAI's envelope, and in those that compatible servers have.

Source: https://platform.openai.com/docs/guides/error-codes, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from providers.errors import (
    ContentBlockedError,
    ContextTooLongError,
    CredentialRejectedError,
    ModelNotServedError,
    OverloadedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitedError,
)
from providers.types import JSONObject
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.json_access import text_or_none

ERROR_OF_CODE: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExhaustedError,
    "credit_balance_exhausted": QuotaExhaustedError,
    "organization_spend_limit_exceeded": QuotaExhaustedError,
    "project_spend_limit_exceeded": QuotaExhaustedError,
    "organization_usage_limit_exceeded": QuotaExhaustedError,
    "billing_hard_limit_reached": QuotaExhaustedError,
    "rate_limit_exceeded": RateLimitedError,
    "slow_down": RateLimitedError,
    "invalid_api_key": CredentialRejectedError,
    "model_not_found": ModelNotServedError,
    "invalid_model": ModelNotServedError,
    "context_length_exceeded": ContextTooLongError,
    "exceed_context_size_error": ContextTooLongError,
    "content_filter": ContentBlockedError,
    "content_policy_violation": ContentBlockedError,
    "invalid_prompt": ContentBlockedError,
    "overloaded": OverloadedError,
    "overloaded_error": OverloadedError,
    "unavailable_error": OverloadedError,
}
CONTEXT_MESSAGE = re.compile(r"maximum context length|context size|prompt is too long", re.IGNORECASE)


def decode_error(status: int, body: Any) -> ProviderError:
    """Classify an error by its code, its type and the status, in this order.

    Shape: OpenAI's envelope, or one of those that compatible servers have: flat, `detail`, or a text alone.
    """
    error = _error_object(body)
    codes = [str(value) for value in (error.get("code"), error.get("type")) if value is not None]
    told_status = _told_status(codes, status)
    kind = next((ERROR_OF_CODE[code] for code in codes if code in ERROR_OF_CODE), None)
    message = message_of(error, told_status)
    if kind is None and told_status in (400, 422) and CONTEXT_MESSAGE.search(message):
        kind = ContextTooLongError
    kind = kind or error_of_status(told_status)
    code, param = text_or_none(error.get("code")), text_or_none(error.get("param"))
    return kind(message, upstream_status=status, code=code, param=param)


def _told_status(codes: Iterable[str], status: int) -> int:
    """Return the status that an error sent with 200 names as its code, or else 500."""
    if status >= 400:
        return status
    return next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), 500)


def _error_object(body: Any) -> JSONObject:
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    detail = error.get("detail")
    if isinstance(error.get("message"), dict):
        detail = error["message"].get("detail", detail)
    return error if detail is None else {**error, "message": _detail_text(detail)}


def _detail_text(detail: Any) -> str | None:
    """Return what validators of the `detail` kind say, without the input that they repeat."""
    if isinstance(detail, list):
        return "; ".join(_fault_text(item) for item in detail if isinstance(item, dict))
    return text_or_none(detail)


def _fault_text(fault: JSONObject) -> str:
    place = fault.get("loc")
    return f"{'.'.join(map(str, place)) if isinstance(place, list) else '?'}: {fault.get('msg')}"

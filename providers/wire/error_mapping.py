"""What an HTTP status of a provider means, where its own error codes say nothing better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.errors import (
    ConfigurationError,
    CredentialRejectedError,
    ModelNotServedError,
    OverloadedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExhaustedError,
    RateLimitedError,
    RequestRejectedError,
    UpstreamError,
)

MAX_RETRY_AFTER_S = 60.0

ERROR_OF_STATUS: Mapping[int, type[ProviderError]] = {
    401: CredentialRejectedError,
    402: QuotaExhaustedError,
    403: CredentialRejectedError,
    404: ModelNotServedError,
    408: ProviderTimeoutError,
    429: RateLimitedError,
    503: OverloadedError,
    504: ProviderTimeoutError,
    529: OverloadedError,
}


def error_of_status(status: int) -> type[ProviderError]:
    if status >= 500:
        return ERROR_OF_STATUS.get(status, UpstreamError)
    if status >= 400:
        return ERROR_OF_STATUS.get(status, RequestRejectedError)
    return ConfigurationError


def message_of(error: Mapping[str, Any], status: int) -> str:
    """Return the provider's own message, or one that tells the status."""
    message = error.get("message")
    if isinstance(message, str) and message.strip():
        return message.strip()
    return f"The provider answered with status {status}."

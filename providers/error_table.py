"""Every failure a caller may meet, with the status and words it is answered with: the one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from llmhub.access.principals import KeyRefusedError, NotPermittedError
from llmhub.access.sessions import SessionsUnavailableError, UnknownKeyError
from llmhub.http.error_envelope import error_body
from providers import errors

RETRY_AFTER_CAP_S = 60
OVERFLOW_MARKS = ("context_length_exceeded", "prompt is too long")


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How one kind of failure is answered. `should_retry` None leaves it to the client's own rules."""

    status: int
    type: str
    code: str | None = None
    should_retry: bool | None = None


INTERNAL = ErrorSpec(500, "server_error", "internal_error")
ERROR_SPECS: Mapping[type[Exception], ErrorSpec] = {
    KeyRefusedError: ErrorSpec(401, "invalid_request_error", "invalid_api_key", should_retry=False),
    UnknownKeyError: ErrorSpec(400, "invalid_request_error", "unknown_key", should_retry=False),
    SessionsUnavailableError: ErrorSpec(503, "server_error", "database_unavailable"),
    NotPermittedError: ErrorSpec(403, "permission_error", "not_permitted", should_retry=False),
    errors.ConfigurationError: ErrorSpec(503, "server_error", "provider_misconfigured", should_retry=False),
    errors.UnreachableError: ErrorSpec(502, "api_error", "provider_unreachable"),
    errors.ProviderTimeoutError: ErrorSpec(504, "api_error", "provider_timeout"),
    errors.CredentialRejectedError: ErrorSpec(502, "api_error", "provider_auth_error", should_retry=False),
    errors.QuotaExhaustedError: ErrorSpec(502, "api_error", "provider_quota_exhausted", should_retry=False),
    errors.RateLimitedError: ErrorSpec(429, "rate_limit_error", "rate_limit_exceeded"),
    errors.OverloadedError: ErrorSpec(503, "server_error", "overloaded"),
    errors.UpstreamError: ErrorSpec(502, "api_error", "provider_error"),
    errors.MalformedReplyError: ErrorSpec(502, "api_error", "malformed_reply"),
    errors.TruncatedReplyError: ErrorSpec(502, "api_error", "truncated_reply"),
    errors.AnswerTooLargeError: ErrorSpec(502, "api_error", "answer_too_large", should_retry=False),
    errors.ModelNotServedError: ErrorSpec(404, "invalid_request_error", "model_not_found", should_retry=False),
    errors.RequestRejectedError: ErrorSpec(400, "invalid_request_error", should_retry=False),
    errors.UnsupportedRequestError: ErrorSpec(
        400, "invalid_request_error", "unsupported_by_provider", should_retry=False
    ),
    errors.ContextTooLongError: ErrorSpec(400, "invalid_request_error", "context_length_exceeded", should_retry=False),
    errors.ContentBlockedError: ErrorSpec(400, "invalid_request_error", "content_filter", should_retry=False),
    errors.NoProviderError: ErrorSpec(503, "server_error", "no_provider"),
    errors.LoopError: ErrorSpec(508, "invalid_request_error", "loop_detected", should_retry=False),
    errors.InternalError: INTERNAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedError:
    """One failure, ready to be put into a dialect's envelope. Units: `retry_after_s` whole seconds, at most 60."""

    status: int
    type: str
    message: str = field(repr=False)
    code: str | None = None
    param: str | None = None
    retry_after_s: int | None = None
    should_retry: bool | None = None

    @property
    def headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.retry_after_s is not None:
            found["retry-after"] = str(self.retry_after_s)
        if self.should_retry is not None:
            found["x-should-retry"] = str(self.should_retry).lower()
        return found

    @property
    def body(self) -> dict[str, Any]:
        return error_body(self.message, type_=self.type, code=self.code, param=self.param)


def served_error(error: Exception, specs: Mapping[type[Exception], ErrorSpec] = ERROR_SPECS) -> ServedError:
    """Return how an exception is answered; what the table does not know is an internal error, unnamed."""
    spec = next((specs[kind] for kind in type(error).__mro__ if kind in specs), None)
    if spec is None:
        return ServedError(
            status=INTERNAL.status, type=INTERNAL.type, code=INTERNAL.code, message="The hub failed; see its log."
        )
    return ServedError(
        status=spec.status,
        type=spec.type,
        message=_message(error),
        code=_code(error, spec),
        param=getattr(error, "param", None),
        retry_after_s=_retry_after_s(getattr(error, "retry_after_s", None)),
        should_retry=False if _was_retried(error) else spec.should_retry,
    )


def _was_retried(error: Exception) -> bool:
    """Whether the hub has itself asked another: clients that ask again would multiply that."""
    return len(getattr(error, "attempts", ())) > 1


def _message(error: Exception) -> str:
    """Return the words, with the mark by which clients know an overlong prompt: they do not look at the code."""
    message = str(error)
    if isinstance(error, errors.ContextTooLongError) and not any(mark in message for mark in OVERFLOW_MARKS):
        return f"{message} ({OVERFLOW_MARKS[0]})"
    return message


def _code(error: Exception, spec: ErrorSpec) -> str | None:
    """Return the hub's own code, or a provider's where there is none: its `invalid_api_key` is not the caller's."""
    own: str | None = getattr(error, "code", None)
    is_upstream = getattr(error, "upstream_status", None) is not None
    return spec.code or own if is_upstream else own or spec.code


def _retry_after_s(seconds: float | None) -> int | None:
    return None if seconds is None else ceil(min(max(seconds, 0), RETRY_AFTER_CAP_S))

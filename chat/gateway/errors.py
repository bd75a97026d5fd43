"""The failures of chats, as callers are told: the table of providers, with what can fail before one is asked."""

from __future__ import annotations

from collections.abc import Mapping

from chat.ledger.errors import LedgerUnavailableError
from llmhub.http.request_bodies import BodyTooLargeError, BodyTooSlowError
from llmhub.runtime.memory_budget import LargerThanBudgetError, MemoryBudgetExceededError
from providers.error_table import ERROR_SPECS, ErrorSpec, ServedError, served_error
from providers.wire.validation import BadRequestError


class MediaTypeError(Exception):
    """The body is not said to be JSON."""


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
_KNOWN = tuple(SERVED)


def served_problem(error: Exception) -> ServedError:
    return served_error(error, SERVED)


def is_known(error: Exception) -> bool:
    """Whether the table has a row for an error; any other is a fault of the hub's own."""
    return isinstance(error, _KNOWN)

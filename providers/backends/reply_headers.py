"""What providers of every type say in the headers of a reply."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from providers.wire.error_mapping import MAX_RETRY_AFTER_S

REQUEST_ID_HEADERS = ("x-request-id", "request-id", "mistral-correlation-id", "x-goog-request-id", "cf-ray")

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_EARLIEST_EPOCH_S = 1e9
_DURATION = re.compile(rf"(?:{_DURATION_PIECE.pattern})+")


def upstream_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the provider's own id of the request, to quote to its support."""
    return next((headers[name][:128] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return when the provider wants to be asked again; at most MAX_RETRY_AFTER_S, None when it does not say.

    Shape: names in lower case. A `retry-after` date counts from the reply's own `date`; without
    `retry-after`, the earliest of the rate limits that are used up decides.
    """
    told_s = _told_s(headers)
    if told_s is None:
        told_s = min(_resets_s(headers), default=None)
    return None if told_s is None else min(max(told_s, 0.0), MAX_RETRY_AFTER_S)


def _told_s(headers: Mapping[str, str]) -> float | None:
    if (milliseconds := _find_number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    if (seconds := _find_number(value)) is not None:
        return seconds
    until, now = _find_date(value), _find_date(headers.get("date", ""))
    return (until - now).total_seconds() if until and now else None


def _resets_s(headers: Mapping[str, str]) -> list[float]:
    resets = {name: value for name, value in headers.items() if "ratelimit" in name and "reset" in name}
    used_up = {name: value for name, value in resets.items() if headers.get(name.replace("reset", "remaining")) == "0"}
    found = (_find_reset_s(value, now=headers.get("date", "")) for value in (used_up or resets).values())
    return [reset_s for reset_s in found if reset_s is not None]


def _find_reset_s(value: str, *, now: str) -> float | None:
    """Read a duration (`6m0s`, `12ms`, `30`) or a moment (RFC 3339)."""
    if (seconds := _find_number(value)) is not None:
        return seconds if seconds < _EARLIEST_EPOCH_S else None
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PIECE.findall(value))
    try:
        until = datetime.fromisoformat(value)
    except ValueError:
        return None
    sent_at = _find_date(now)
    return (until - sent_at).total_seconds() if sent_at and until.tzinfo else None


def _find_number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _find_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else None

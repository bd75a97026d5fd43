"""Format times and durations."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

MINUTE = timedelta(minutes=1)


def time_ago(at: datetime | None, *, none: str = "never") -> str:
    """Return a relative time as HTML; its title is the exact time, with the zone."""
    if at is None:
        return none
    now = timezone.now()
    if abs(now - at) < MINUTE:
        return _time(at, "just now" if at <= now else "within a minute")
    return _time(at, f"{timesince(at, now, depth=1)} ago" if at < now else f"in {timeuntil(at, now, depth=1)}")


def time_since(at: datetime) -> SafeString:
    """Return the duration since a time as HTML, with a title as in `time_ago`."""
    now = timezone.now()
    return _time(at, timesince(at, now, depth=1) if now - at >= MINUTE else "less than a minute")


def exact_time(at: datetime) -> str:
    """Return a time to the second, with its zone."""
    return date_format(timezone.localtime(at), "DATETIME_FORMAT")


def format_ms(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def _time(at: datetime, text: str) -> SafeString:
    title, text = exact_time(at), text.replace("\xa0", " ")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), title, text)

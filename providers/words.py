"""Moments and lengths of time in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

MINUTE = timedelta(minutes=1)


def moment(at: datetime) -> SafeString:
    """Say how long ago something was; the moment itself, with its zone, is in the title."""
    at = at.astimezone(UTC)
    title = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    ago = timesince(at, depth=1) if datetime.now(UTC) - at >= MINUTE else "less than a minute"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), title, ago)


def ago(at: datetime) -> SafeString:
    return format_html("<span>{} ago</span>", moment(at))


def ms(latency_ms: float) -> str:
    return f"{latency_ms / 1000:.1f} s" if latency_ms >= 1000 else f"{latency_ms:.0f} ms"

"""How the admin tells the state of a key, and moments: in words, the exact one within reach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil

from llmhub.access.models import KeyState

STATE_COLOURS = {
    KeyState.LIVE.label: "success",
    KeyState.EXPIRES_SOON.label: "warning",
    KeyState.EXPIRED.label: "warning",
    KeyState.REVOKED.label: "danger",
    KeyState.SWITCHED_OFF.label: "info",
}


def time_ago(at: datetime | None, *, none: str = "never") -> str:
    """Return how long ago, or until when, as HTML whose title is the time to the second, with its zone."""
    if at is None:
        return none
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact_time(at), _in_words(at))


def exact_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"


def _in_words(at: datetime) -> str:
    now = timezone.now()
    if abs(now - at) < timedelta(minutes=1):
        return "just now" if at <= now else "within a minute"
    words = f"{timesince(at, now, depth=1)} ago" if at < now else f"in {timeuntil(at, now, depth=1)}"
    return words.replace("\xa0", " ")

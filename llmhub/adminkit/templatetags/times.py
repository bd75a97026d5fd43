"""Template filters for durations."""

from __future__ import annotations

from django.template import Library

from llmhub.adminkit.times import format_ms

register = Library()


@register.filter
def ms(latency_ms: float | None) -> str:
    return "–" if latency_ms is None else format_ms(latency_ms)

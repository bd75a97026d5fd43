"""Lengths of time in templates."""

from __future__ import annotations

from django.template import Library

from llmhub.adminkit.times import ms_words

register = Library()


@register.filter
def ms(latency_ms: float | None) -> str:
    return "–" if latency_ms is None else ms_words(latency_ms)

"""A provider's health over the last day, for its page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llmhub.adminkit.charts import chart_options
from llmhub.adminkit.times import format_ms
from providers.models import HealthCheck, HealthSpan, ProviderConfig

DAY = timedelta(hours=24)
SPAN = timedelta(minutes=15)
LEGEND = {"align": "end", "labels": {"usePointStyle": True}}
AXES: dict[str, Any] = {
    "x": {"grid": {"display": False}, "ticks": {"maxTicksLimit": 6, "maxRotation": 0}},
    "y": {"grid": {}, "beginAtZero": True, "ticks": {"maxTicksLimit": 6}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthHistory:
    """Shape: `chart` and `options` are JSON for Chart.js."""

    summary: str
    chart: str
    options: str
    spans: tuple[HealthSpan, ...]


def health_history(provider: ProviderConfig, *, now: datetime) -> HealthHistory:
    """Return the last day in intervals of 15 minutes. Runs one query."""
    since = now - DAY
    spans = HealthCheck.objects.filter(provider=provider).by_span(since=since, span=SPAN)
    return HealthHistory(
        summary=_summary(spans),
        chart=_chart(spans, since=since),
        options=chart_options(axes=AXES, legend=LEGEND),
        spans=tuple(reversed(spans)),
    )


def _summary(spans: Sequence[HealthSpan]) -> str:
    checks, failed = sum(span.checks for span in spans), sum(span.failed for span in spans)
    if not checks:
        return "No checks in the last 24 hours."
    count_text = f"{checks:,} {'check' if checks == 1 else 'checks'} in the last 24 hours"
    summary = f"{count_text}, {f'{failed:,} failed' if failed else 'none failed'}"
    succeeded = [span for span in spans if span.mean_ms is not None]
    if not succeeded:
        return f"{summary}."
    mean_ms = sum((span.mean_ms or 0) * (span.checks - span.failed) for span in succeeded) / (checks - failed)
    slowest_ms = max(span.slowest_ms or 0 for span in succeeded)
    return f"{summary}; latency {format_ms(mean_ms)} on average, {format_ms(slowest_ms)} at most."


def _chart(spans: Sequence[HealthSpan], *, since: datetime) -> str:
    by_start = {span.start: span for span in spans}
    starts = [since + SPAN * number for number in range(DAY // SPAN + 1)]
    by_interval = [by_start.get(start) for start in starts]
    line = {
        "label": "average latency (ms)",
        "data": [None if span is None or span.mean_ms is None else round(span.mean_ms) for span in by_interval],
        "borderColor": "var(--color-primary-600)",
        "borderWidth": 2,
        "pointRadius": 0,
        "pointStyle": "line",
    }
    marks = {
        "label": "failed checks",
        "data": [round(span.mean_ms or 0) if span and span.failed else None for span in by_interval],
        "borderColor": "var(--color-red-600)",
        "backgroundColor": "var(--color-red-600)",
        "showLine": False,
        "pointStyle": "triangle",
        "order": -1,
        "pointRadius": 5,
    }
    return json.dumps({"labels": [f"{start:%H:%M}" for start in starts], "datasets": [line, marks]})

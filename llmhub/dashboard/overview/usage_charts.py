"""The dashboard's charts, for the theme's Chart.js components."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat.ledger.models import ChatStatus
from llmhub.adminkit.charts import chart_options
from llmhub.dashboard.overview.numbers import format_count, format_duration, format_usd
from llmhub.dashboard.overview.usage import Bucket, Overview

STATUS_COLOURS = {
    ChatStatus.SUCCEEDED: "#16a34a",
    ChatStatus.CLIENT_DISCONNECTED: "#64748b",
    ChatStatus.REJECTED: "#f59e0b",
    ChatStatus.TRUNCATED: "#a855f7",
    ChatStatus.FAILED: "#dc2626",
    ChatStatus.LOST: "#7c2d12",
    ChatStatus.STARTED: "#0ea5e9",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Shape: `summary` describes the chart as text; `data` and `options` are JSON for Chart.js."""

    kind: str
    title: str
    summary: str
    data: str
    options: str


def get_charts(overview: Overview) -> tuple[Chart, ...]:
    return (_chats(overview), _latency(overview), _tokens(overview))


def bucket_label(bucket: Bucket, overview: Overview) -> str:
    return f"{bucket.at:%H:%M}" if overview.period.has_hours else f"{bucket.at:%a} {bucket.at.day} {bucket.at:%b}"


def _chats(overview: Overview) -> Chart:
    datasets = [
        {
            "label": status.label,
            "data": [bucket.by_status[status] for bucket in overview.buckets],
            "backgroundColor": STATUS_COLOURS[status],
        }
        for status in STATUS_COLOURS
        if overview.by_status[status]
    ]
    busiest = max(overview.buckets, key=lambda bucket: bucket.usage.chats)
    counts = ", ".join(
        f"{status.label.lower()} {overview.by_status[status]:,}"
        for status in STATUS_COLOURS
        if overview.by_status[status]
    )
    summary = f"{counts}. Peak at {bucket_label(busiest, overview)}: {busiest.usage.chats:,}."
    return _chart(
        overview,
        kind="bar",
        title="Chats by status",
        summary=summary,
        datasets=datasets,
        axes=_axes(stacked=True),
    )


def _latency(overview: Overview) -> Chart:
    lines: tuple[tuple[str, str, Callable[[Bucket], float | None]], ...] = (
        ("p50 (s)", "#0ea5e9", lambda bucket: bucket.usage.p50_ms),
        ("p95 (s)", "#f97316", lambda bucket: bucket.usage.p95_ms),
    )
    datasets = [
        {
            "label": label,
            "data": [None if (ms := get_value(bucket)) is None else round(ms / 1000, 3) for bucket in overview.buckets],
            "borderColor": colour,
            "backgroundColor": colour,
            "borderWidth": 2,
            "pointRadius": 2,
            "spanGaps": True,
        }
        for label, colour, get_value in lines
    ]
    p50, p95 = (format_duration(ms)[0] for ms in (overview.total.p50_ms, overview.total.p95_ms))
    summary = f"Latency of succeeded chats, approximately: p50 {p50}, p95 {p95}."
    return _chart(overview, kind="line", title="Latency", summary=summary, datasets=datasets, axes=_axes())


def _tokens(overview: Overview) -> Chart:
    datasets = [
        {
            "label": "Tokens",
            "data": [bucket.usage.tokens for bucket in overview.buckets],
            "backgroundColor": "#8b5cf6",
            "order": 1,
            "yAxisID": "y",
        },
        {
            "label": "Cost (USD)",
            "type": "line",
            "data": [bucket.usage.cost_nano_usd / 1e9 for bucket in overview.buckets],
            "borderColor": "#0d9488",
            "backgroundColor": "#0d9488",
            "borderWidth": 2,
            "pointRadius": 2,
            "order": 0,
            "yAxisID": "usd",
        },
    ]
    usd_ticks = {"format": {"style": "currency", "currency": "USD", "maximumSignificantDigits": 3}}
    usd_axis = {"position": "right", "beginAtZero": True, "ticks": usd_ticks, "grid": {"drawOnChartArea": False}}
    tokens, cost = format_count(overview.total.tokens)[0], format_usd(overview.total.cost_nano_usd)[0]
    summary = f"{tokens} tokens for {cost}, where prices are known."
    return _chart(
        overview,
        kind="bar",
        title="Tokens and cost",
        summary=summary,
        datasets=datasets,
        axes=_axes() | {"usd": usd_axis},
    )


def _axes(*, stacked: bool = False) -> dict[str, Any]:
    """Return two axes that start at zero, with compact numbers."""
    times = {
        "stacked": stacked,
        "ticks": {"maxRotation": 0, "autoSkipPadding": 12},
        "grid": {"display": False},
    }
    numbers: dict[str, Any] = {"format": {"notation": "compact", "maximumSignificantDigits": 3}} | (
        {"precision": 0} if stacked else {}
    )
    return {"x": times, "y": {"stacked": stacked, "beginAtZero": True, "ticks": numbers, "grid": {}}}


def _chart(
    overview: Overview, *, kind: str, title: str, summary: str, datasets: list[dict[str, Any]], axes: dict[str, Any]
) -> Chart:
    labels = [bucket_label(bucket, overview) for bucket in overview.buckets]
    legend = {"labels": {"boxWidth": 12, "boxHeight": 12}, "position": "bottom"}
    data = json.dumps({"labels": labels, "datasets": datasets})
    options = chart_options(axes=axes, legend=legend)
    return Chart(kind=kind, title=title, summary=summary, data=data, options=options)

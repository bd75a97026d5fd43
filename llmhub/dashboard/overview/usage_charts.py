"""The dashboard's charts, as the theme's Chart.js components take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat.ledger.models import ChatStatus
from llmhub.adminkit.charts import chart_options
from llmhub.dashboard.overview.numbers import count_words, time_words, usd_words
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
STATUS_LABELS = {
    ChatStatus.SUCCEEDED: "Succeeded",
    ChatStatus.CLIENT_DISCONNECTED: "Caller left",
    ChatStatus.REJECTED: "Rejected",
    ChatStatus.TRUNCATED: "Cut off",
    ChatStatus.FAILED: "Failed",
    ChatStatus.LOST: "Lost",
    ChatStatus.STARTED: "Still open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Shape: `summary` says in words what the picture shows; `data` and `options` are Chart.js's, as JSON."""

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
            "label": label,
            "data": [bucket.by_status[status] for bucket in overview.buckets],
            "backgroundColor": STATUS_COLOURS[status],
        }
        for status, label in STATUS_LABELS.items()
        if overview.by_status[status]
    ]
    busiest = max(overview.buckets, key=lambda bucket: bucket.usage.chats)
    parts = ", ".join(
        f"{label.lower()} {overview.by_status[s]:,}" for s, label in STATUS_LABELS.items() if overview.by_status[s]
    )
    summary = f"{parts}. Most at {bucket_label(busiest, overview)}: {busiest.usage.chats:,}."
    return _chart(
        overview,
        kind="bar",
        title="Chats by how they ended",
        summary=summary,
        datasets=datasets,
        axes=_axes(stacked=True),
    )


def _latency(overview: Overview) -> Chart:
    lines: tuple[tuple[str, str, Callable[[Bucket], float | None]], ...] = (
        ("Half took at most (s)", "#0ea5e9", lambda bucket: bucket.usage.p50_ms),
        ("95 % took at most (s)", "#f97316", lambda bucket: bucket.usage.p95_ms),
    )
    datasets = [
        {
            "label": label,
            "data": [None if (ms := read(bucket)) is None else round(ms / 1000, 3) for bucket in overview.buckets],
            "borderColor": colour,
            "backgroundColor": colour,
            "borderWidth": 2,
            "pointRadius": 2,
            "spanGaps": True,
        }
        for label, colour, read in lines
    ]
    p50, p95 = (time_words(ms)[0] for ms in (overview.total.p50_ms, overview.total.p95_ms))
    summary = f"Of chats that succeeded, half took at most about {p50}, 95 % at most about {p95}."
    return _chart(
        overview, kind="line", title="Time to the whole answer", summary=summary, datasets=datasets, axes=_axes()
    )


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
    tokens, cost = count_words(overview.total.tokens)[0], usd_words(overview.total.cost_nano_usd)[0]
    summary = f"{tokens} tokens for {cost}, as far as prices are known."
    return _chart(
        overview,
        kind="bar",
        title="Tokens and cost",
        summary=summary,
        datasets=datasets,
        axes=_axes() | {"usd": usd_axis},
    )


def _axes(*, stacked: bool = False) -> dict[str, Any]:
    """Return two axes from nought on, whose large numbers are shortened."""
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

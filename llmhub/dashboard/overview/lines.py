"""The dashboard's tables: formatted numbers, each linked to its chats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.history.models import Cut
from chat.ledger.models import ChatStatus
from llmhub.dashboard.overview.numbers import NOTHING, format_count, format_duration, format_usd, pluralize_chats
from llmhub.dashboard.overview.usage import ERRORS, Bucket, ErrorCount, Overview, Period, Row, UsageTotals
from llmhub.dashboard.overview.viewer import Viewer

FIGURE_HEADERS = ("Chats", "Errors", "Tokens", "Cost", "p50 (approx.)", "p95 (approx.)")
CUTS = (
    (Cut.PROVIDER, "By provider", "Provider"),
    (Cut.APPLICATION, "By application", "Application"),
    (Cut.MODEL, "By model", "Model"),
)
WITHOUT_PROVIDER = (ChatStatus.STARTED, ChatStatus.REJECTED, ChatStatus.LOST)
"""Statuses of chats without a provider."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A formatted number, its exact value and a link. Shape: `url` is empty without permission."""

    text: str
    exact: str = ""
    url: str = ""

    @property
    def html(self) -> SafeString:
        """The number as a link. A page has hundreds; a template for each would be too slow."""
        title = format_html(' title="{}"', self.exact) if self.exact not in ("", self.text) else ""
        if not self.url:
            return format_html("<span{}>{}</span>", title, self.text)
        return format_html('<a href="{}"{}>{}</a>', self.url, title, self.text)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table. Shape: `url` links the name."""

    name: str
    figures: tuple[Figure, ...]
    note: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    title: str
    headers: tuple[str, ...]
    lines: tuple[Line, ...]


def cut_tables(overview: Overview, viewer: Viewer, provider_ids: Mapping[str, int]) -> list[Lines]:
    """Return a table of the largest rows for each of CUTS."""
    return [
        Lines(title, (header, *FIGURE_HEADERS), tuple(_cut_lines(cut, overview, viewer, provider_ids)))
        for cut, title, header in CUTS
    ]


def bucket_table(overview: Overview, viewer: Viewer) -> Lines:
    """Return a table of hours or days, newest first."""
    return Lines(
        "By hour" if overview.period.has_hours else "By day",
        ("From (UTC)", *FIGURE_HEADERS),
        tuple(_bucket_line(bucket, overview.period, viewer) for bucket in reversed(overview.buckets)),
    )


def usage_figures(usage: UsageTotals, link: Callable[..., str]) -> tuple[Figure, ...]:
    """Return the figures under FIGURE_HEADERS. Shape: `link(statuses=…)` returns the URL of these chats."""
    all_chats, succeeded = link(), link(statuses=[ChatStatus.SUCCEEDED])
    return (
        Figure(*format_count(usage.chats), all_chats),
        Figure(*format_count(usage.errors), link(statuses=ERRORS)),
        Figure(*format_count(usage.tokens), all_chats),
        Figure(*_cost_text(usage), all_chats),
        Figure(*format_duration(usage.p50_ms), succeeded),
        Figure(*format_duration(usage.p95_ms), succeeded),
    )


def _cost_text(usage: UsageTotals) -> tuple[str, str]:
    text, exact = format_usd(usage.cost_nano_usd)
    if not usage.unpriced_chats:
        return text, exact
    unknown = f"{usage.unpriced_chats:,} {pluralize_chats(usage.unpriced_chats)} of unknown price"
    return f"{text} + ?" if usage.cost_nano_usd else "unknown", f"{exact} and {unknown}"


def _bucket_line(bucket: Bucket, period: Period, viewer: Viewer) -> Line:
    def link(**filters: Any) -> str:
        return viewer.chats(since=bucket.at, until=bucket.at + period.step, **filters)

    name = f"{bucket.at:%d %b, %H:%M}" if period.has_hours else f"{bucket.at:%a %d %b}"
    return Line(name, usage_figures(bucket.usage, link))


def _cut_lines(cut: Cut, overview: Overview, viewer: Viewer, provider_ids: Mapping[str, int]) -> Iterable[Line]:
    table = overview.tables[cut]
    make_line = {Cut.PROVIDER: _provider_line, Cut.MODEL: _model_line, Cut.APPLICATION: _application_line}[cut]
    for row in table.top:
        yield make_line(row, viewer, provider_ids)
    if table.rest_rows:
        figures = usage_figures(table.rest, lambda **_: "")
        yield Line(f"{table.rest_rows:,} {'other' if table.rest_rows == 1 else 'others'}", (*figures[:4], *NO_TIMES))


NO_TIMES = (Figure(NOTHING), Figure(NOTHING))


def _provider_line(row: Row, viewer: Viewer, provider_ids: Mapping[str, int]) -> Line:
    (name,) = row.names
    link = _link_by(viewer, provider=name)
    return Line(name or NOTHING, usage_figures(row.usage, link), url=viewer.provider(provider_ids.get(name)))


def _model_line(row: Row, viewer: Viewer, _: Mapping[str, int]) -> Line:
    provider, model_name = row.names
    link = _link_by(viewer, provider=provider, model_name=model_name)
    return Line(model_name or NOTHING, usage_figures(row.usage, link), note=provider)


def _application_line(row: Row, viewer: Viewer, _: Mapping[str, int]) -> Line:
    application, actor = row.names
    if application:
        return Line(application, usage_figures(row.usage, _link_by(viewer, application=application)))
    return Line(actor or NOTHING, usage_figures(row.usage, _link_by(viewer, actor=actor)), note="signed in")


def _link_by(viewer: Viewer, **names: str) -> Callable[..., str]:
    """Return a link function for chats with these names; without names, for chats without a provider."""

    def link(*, statuses: Iterable[str] = ()) -> str:
        if any(names.values()):
            return viewer.chats(statuses=statuses, **names)
        without_provider = [status for status in WITHOUT_PROVIDER if not statuses or status in statuses]
        return viewer.chats(statuses=without_provider) if without_provider else ""

    return link


def error_figure(error: ErrorCount, viewer: Viewer) -> Figure:
    url = viewer.chats(statuses=[error.status], error=error.error_type, provider=error.provider)
    return Figure(*format_count(error.chats), url)

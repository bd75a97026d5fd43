"""The dashboard's tables: numbers for people, each a link to the rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.history.models import Cut
from chat.ledger.models import ChatStatus
from llmhub.dashboard.overview.numbers import NOTHING, chats_word, count_words, time_words, usd_words
from llmhub.dashboard.overview.usage import ERRORS, Bucket, ErrorCount, Overview, Period, Row, UsageTotals
from llmhub.dashboard.overview.viewer import Viewer

FIGURE_HEADERS = ("Chats", "Errors", "Tokens", "Cost", "p50, about", "p95, about")
CUTS = (
    (Cut.PROVIDER, "By provider", "Provider"),
    (Cut.APPLICATION, "By application", "Application"),
    (Cut.MODEL, "By model", "Model"),
)
UNASKED = (ChatStatus.STARTED, ChatStatus.REJECTED, ChatStatus.LOST)
"""The chats of which no provider is known."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number for people, its exact value, and where its rows are. Shape: `url` is empty for who may not look."""

    text: str
    exact: str = ""
    url: str = ""

    @property
    def html(self) -> SafeString:
        """The number as a link. A page has hundreds, for which a template each would take too long."""
        title = format_html(' title="{}"', self.exact) if self.exact not in ("", self.text) else ""
        if not self.url:
            return format_html("<span{}>{}</span>", title, self.text)
        return format_html('<a href="{}"{}>{}</a>', self.url, title, self.text)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table. Shape: `url` leads to what is named."""

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
    """Return who made or served the most chats, by each of CUTS."""
    return [
        Lines(title, (header, *FIGURE_HEADERS), tuple(_cut_lines(cut, overview, viewer, provider_ids)))
        for cut, title, header in CUTS
    ]


def bucket_table(overview: Overview, viewer: Viewer) -> Lines:
    """Return what each hour or day came to, the newest first."""
    return Lines(
        "Hour by hour" if overview.period.has_hours else "Day by day",
        ("From (UTC)", *FIGURE_HEADERS),
        tuple(_bucket_line(bucket, overview.period, viewer) for bucket in reversed(overview.buckets)),
    )


def figures_of(usage: UsageTotals, link: Callable[..., str]) -> tuple[Figure, ...]:
    """Return what stands under FIGURE_HEADERS. `link` leads to the same chats of given statuses only."""
    every, succeeded = link(), link(statuses=[ChatStatus.SUCCEEDED])
    return (
        Figure(*count_words(usage.chats), every),
        Figure(*count_words(usage.errors), link(statuses=ERRORS)),
        Figure(*count_words(usage.tokens), every),
        Figure(*_cost_words(usage), every),
        Figure(*time_words(usage.p50_ms), succeeded),
        Figure(*time_words(usage.p95_ms), succeeded),
    )


def _cost_words(usage: UsageTotals) -> tuple[str, str]:
    text, exact = usd_words(usage.cost_nano_usd)
    if not usage.unpriced_chats:
        return text, exact
    unknown = f"{usage.unpriced_chats:,} {chats_word(usage.unpriced_chats)} of unknown price"
    return f"{text} + ?" if usage.cost_nano_usd else "unknown", f"{exact} and {unknown}"


def _bucket_line(bucket: Bucket, period: Period, viewer: Viewer) -> Line:
    def link(**found_by: Any) -> str:
        return viewer.chats(since=bucket.at, until=bucket.at + period.step, **found_by)

    name = f"{bucket.at:%d %b, %H:%M}" if period.has_hours else f"{bucket.at:%a %d %b}"
    return Line(name, figures_of(bucket.usage, link))


def _cut_lines(cut: Cut, overview: Overview, viewer: Viewer, provider_ids: Mapping[str, int]) -> Iterable[Line]:
    table = overview.tables[cut]
    make = {Cut.PROVIDER: _provider_line, Cut.MODEL: _model_line, Cut.APPLICATION: _application_line}[cut]
    for row in table.top:
        yield make(row, viewer, provider_ids)
    if table.rest_rows:
        figures = figures_of(table.rest, lambda **_: "")
        yield Line(f"{table.rest_rows:,} {'other' if table.rest_rows == 1 else 'others'}", (*figures[:4], *NO_TIMES))


NO_TIMES = (Figure(NOTHING), Figure(NOTHING))


def _provider_line(row: Row, viewer: Viewer, provider_ids: Mapping[str, int]) -> Line:
    (name,) = row.names
    link = _link_by(viewer, provider=name)
    return Line(name or "None was asked", figures_of(row.usage, link), url=viewer.provider(provider_ids.get(name)))


def _model_line(row: Row, viewer: Viewer, _: Mapping[str, int]) -> Line:
    provider, model_name = row.names
    link = _link_by(viewer, provider=provider, model_name=model_name)
    return Line(model_name or "None was asked", figures_of(row.usage, link), note=provider)


def _application_line(row: Row, viewer: Viewer, _: Mapping[str, int]) -> Line:
    application, actor = row.names
    if application:
        return Line(application, figures_of(row.usage, _link_by(viewer, application=application)))
    return Line(actor or "Nobody named", figures_of(row.usage, _link_by(viewer, actor=actor)), note="signed in")


def _link_by(viewer: Viewer, **names: str) -> Callable[..., str]:
    """Return what links to the chats with these names; where they have none, to those that have no provider."""

    def link(*, statuses: Iterable[str] = ()) -> str:
        if any(names.values()):
            return viewer.chats(statuses=statuses, **names)
        unasked = [status for status in UNASKED if not statuses or status in statuses]
        return viewer.chats(statuses=unasked) if unasked else ""

    return link


def error_figure(error: ErrorCount, viewer: Viewer) -> Figure:
    url = viewer.chats(statuses=[error.status], error=error.error_type, provider=error.provider)
    return Figure(*count_words(error.chats), url)

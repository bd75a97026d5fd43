"""The dashboard as the admin's first page shows it: numbers for people, each a link to the rows behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.history_urls import chats_url
from chat.models import ChatStatus, Cut
from llmhub.dashboard.models import Part
from llmhub.dashboard.overview import (
    ERRORS,
    PERIODS,
    TOP,
    Bucket,
    ErrorCount,
    FirstSteps,
    Overview,
    Period,
    Row,
    Usage,
    attention,
    get_overview,
)
from llmhub.dashboard.overview_charts import STATUS_LABELS, get_charts
from llmhub.dashboard.overview_words import NOTHING, chats_word, count_words, percent, time_words, usd_words
from llmhub.dashboard.status import Status, get_status, hub_actions
from providers.models import Health

UNASKED = (ChatStatus.STARTED, ChatStatus.REJECTED, ChatStatus.LOST)
"""The chats of which no provider is known."""

PROVIDER_STATES = {
    Health.HEALTHY: "healthy",
    Health.DEGRADED: "degraded",
    Health.UNHEALTHY: "unhealthy",
    Health.UNKNOWN: "not checked yet",
}


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
class Tile:
    label: str
    figure: Figure
    note: str = ""


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


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    text: str
    action: str
    url: str
    is_done: bool = False


@dataclass(frozen=True)
class Viewer:
    """Who looks at the chats since a moment: what they may see, and the links to it."""

    request: HttpRequest
    since: datetime

    @cached_property
    def may_see_chats(self) -> bool:
        return self._may("chat.view_chat")

    @cached_property
    def may_see_providers(self) -> bool:
        return self._may("providers.view_providerconfig", "providers.change_providerconfig")

    def chats(self, *, statuses: Iterable[str] = (), actor: str = "", **found_by: Any) -> str:
        """Return where these chats are listed."""
        if not self.may_see_chats:
            return ""
        more = [("status", str(status)) for status in statuses] + ([("actor", actor)] if actor else [])
        url = chats_url(**{"since": self.since, **found_by})
        return f"{url}&{urlencode(more)}" if more else url

    def provider(self, pk: int | None) -> str:
        may_link = pk is not None and self.may_see_providers
        return reverse("admin:providers_providerconfig_change", args=[pk]) if may_link else ""

    def page(self, url_name: str, *permissions: str) -> str:
        return reverse(url_name) if self._may(*permissions) else ""

    def _may(self, *permissions: str) -> bool:
        return any(self.request.user.has_perm(permission) for permission in permissions)


def dashboard_callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the context of the admin's first page what this user may see of the dashboard."""
    now = timezone.now()
    period = PERIODS.get(request.GET.get("period", ""), PERIODS["24h"])
    viewer = Viewer(request, period.begins(now=now)[0])
    context["title"] = "Dashboard"
    if viewer.may_see_chats or viewer.may_see_providers:
        context["dashboard"] = _dashboard(period, viewer, now=now)
    return context


def _dashboard(period: Period, viewer: Viewer, *, now: datetime) -> dict[str, Any]:
    status = get_status(now=now)
    overview = get_overview(period, status, now=now)
    return {
        "overview": overview,
        "is_late": overview.is_late(now=now),
        "periods": PERIODS.values(),
        "warnings": [action.message for action in hub_actions(status)],
        "parts": _parts(status),
        **(_attention(status, viewer) if viewer.may_see_providers else {}),
        **(_first_run(overview.first_steps, viewer) if overview.first_steps else _usage(overview, status, viewer)),
    }


def _parts(status: Status) -> list[tuple[str, bool, str]]:
    """Name each part of the hub, whether it is well, and that in words."""
    servers = [("Database", status.has_database), ("Redis", status.has_redis)]
    return [
        *((name, is_well, "answers" if is_well else "does not answer") for name, is_well in servers),
        *((part.label, part in status.alive, "alive" if part in status.alive else "silent") for part in Part),
    ]


def _attention(status: Status, viewer: Viewer) -> dict[str, Any]:
    needed = list(attention(status))
    return {
        "sees_providers": True,
        "provider_count": len(status.providers),
        "providers_state": ", ".join(_counted_states(status)),
        "attention": [(item, viewer.provider(item.provider_id)) for item in needed[:TOP]],
        "more_attention": max(len(needed) - TOP, 0),
        "providers_url": reverse("admin:providers_providerconfig_changelist"),
    }


def _counted_states(status: Status) -> Iterable[str]:
    states = Counter(PROVIDER_STATES[Health(row.health)] if row.enabled else "switched off" for row in status.providers)
    return (f"{count:,} {state}" for state, count in states.items())


def _first_run(done: FirstSteps, viewer: Viewer) -> dict[str, Any]:
    return {
        "steps": (
            Step(
                "Have a provider that answers",
                "Add one with its key, or check the one that is there: it is ready once its health is healthy.",
                "To the providers",
                viewer.page(
                    "admin:providers_providerconfig_changelist",
                    "providers.view_providerconfig",
                    "providers.change_providerconfig",
                ),
                is_done=done.has_healthy_provider,
            ),
            Step(
                "Create a key for an application",
                "Each application that calls the hub has its own keys, and its name stands beside every chat it makes.",
                "To the API keys",
                viewer.page("admin:access_apikey_changelist", "access.view_apikey", "access.change_apikey"),
                is_done=done.has_key,
            ),
            Step(
                "Make the first chat",
                "Here in the playground, or from a terminal with the key:",
                "To the playground",
                viewer.page("playground", "chat.use_chat"),
            ),
        ),
        "chat_url": viewer.request.build_absolute_uri("/api/chat/multi"),
    }


def _usage(overview: Overview, status: Status, viewer: Viewer) -> dict[str, Any]:
    provider_ids = {row.name: row.pk for row in status.providers}
    return {
        "tiles": _tiles(overview.total, viewer),
        "by_status": [
            (label, Figure(*count_words(overview.by_status[status]), viewer.chats(statuses=[status])))
            for status, label in STATUS_LABELS.items()
            if overview.by_status[status]
        ],
        "charts": get_charts(overview) if overview.total.chats else (),
        "buckets": Lines(
            "Hour by hour" if overview.period.has_hours else "Day by day",
            ("From (UTC)", *FIGURE_HEADERS),
            tuple(_bucket_line(bucket, overview.period, viewer) for bucket in reversed(overview.buckets)),
        ),
        "tables": [
            Lines(title, (header, *FIGURE_HEADERS), tuple(_cut_lines(cut, overview, viewer, provider_ids)))
            for cut, title, header in CUTS
        ],
        "errors": [
            (error, STATUS_LABELS[ChatStatus(error.status)], ", ".join(error.codes), _error_figure(error, viewer))
            for error in overview.errors
        ],
    }


FIGURE_HEADERS = ("Chats", "Errors", "Tokens", "Cost", "p50, about", "p95, about")
CUTS = (
    (Cut.PROVIDER, "By provider", "Provider"),
    (Cut.APPLICATION, "By application", "Application"),
    (Cut.MODEL, "By model", "Model"),
)


def _tiles(total: Usage, viewer: Viewer) -> tuple[Tile, ...]:
    chats, errors, tokens, cost, p50, p95 = _figures(total, viewer.chats)
    still_open = f"{total.open_chats:,} still open" if total.open_chats else ""
    unknown = f"+ {total.unpriced_chats:,} {chats_word(total.unpriced_chats)} of unknown price"
    return (
        Tile("Chats", chats, still_open),
        Tile("Errors", errors, NOTHING if total.error_rate is None else f"{percent(total.error_rate)} of what ended"),
        Tile("Tokens", tokens, "of questions and answers"),
        Tile(
            "Cost",
            replace(cost, text=usd_words(total.cost_nano_usd)[0]),
            unknown if total.unpriced_chats else "all prices known",
        ),
        Tile("p50 latency", p50, "about; half were as fast"),
        Tile("p95 latency", p95, "about; 95 % were as fast"),
    )


def _figures(usage: Usage, link: Callable[..., str]) -> tuple[Figure, ...]:
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


def _cost_words(usage: Usage) -> tuple[str, str]:
    text, exact = usd_words(usage.cost_nano_usd)
    if not usage.unpriced_chats:
        return text, exact
    unknown = f"{usage.unpriced_chats:,} {chats_word(usage.unpriced_chats)} of unknown price"
    return f"{text} + ?" if usage.cost_nano_usd else "unknown", f"{exact} and {unknown}"


def _bucket_line(bucket: Bucket, period: Period, viewer: Viewer) -> Line:
    def link(**found_by: Any) -> str:
        return viewer.chats(since=bucket.at, until=bucket.at + period.step, **found_by)

    name = f"{bucket.at:%d %b, %H:%M}" if period.has_hours else f"{bucket.at:%a %d %b}"
    return Line(name, _figures(bucket.usage, link))


def _cut_lines(cut: Cut, overview: Overview, viewer: Viewer, provider_ids: dict[str, int]) -> Iterable[Line]:
    table = overview.tables[cut]
    make = {Cut.PROVIDER: _provider_line, Cut.MODEL: _model_line, Cut.APPLICATION: _application_line}[cut]
    for row in table.top:
        yield make(row, viewer, provider_ids)
    if table.rest_rows:
        figures = _figures(table.rest, lambda **_: "")
        yield Line(f"{table.rest_rows:,} {'other' if table.rest_rows == 1 else 'others'}", (*figures[:4], *NO_TIMES))


NO_TIMES = (Figure(NOTHING), Figure(NOTHING))


def _provider_line(row: Row, viewer: Viewer, provider_ids: dict[str, int]) -> Line:
    (name,) = row.names
    link = _link_by(viewer, provider=name)
    return Line(name or "None was asked", _figures(row.usage, link), url=viewer.provider(provider_ids.get(name)))


def _model_line(row: Row, viewer: Viewer, _: dict[str, int]) -> Line:
    provider, model_name = row.names
    link = _link_by(viewer, provider=provider, model_name=model_name)
    return Line(model_name or "None was asked", _figures(row.usage, link), note=provider)


def _application_line(row: Row, viewer: Viewer, _: dict[str, int]) -> Line:
    application, actor = row.names
    if application:
        return Line(application, _figures(row.usage, _link_by(viewer, application=application)))
    return Line(actor or "Nobody named", _figures(row.usage, _link_by(viewer, actor=actor)), note="signed in")


def _link_by(viewer: Viewer, **names: str) -> Callable[..., str]:
    """Return what links to the chats with these names; where they have none, to those that have no provider."""

    def link(*, statuses: Iterable[str] = ()) -> str:
        if any(names.values()):
            return viewer.chats(statuses=statuses, **names)
        unasked = [status for status in UNASKED if not statuses or status in statuses]
        return viewer.chats(statuses=unasked) if unasked else ""

    return link


def _error_figure(error: ErrorCount, viewer: Viewer) -> Figure:
    url = viewer.chats(statuses=[error.status], error=error.error_type, provider=error.provider)
    return Figure(*count_words(error.chats), url)

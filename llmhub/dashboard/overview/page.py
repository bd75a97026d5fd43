"""The dashboard as the admin's first page shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from chat.ledger.models import ChatStatus
from llmhub.dashboard.overview.lines import Figure, bucket_table, cut_tables, error_figure, figures_of
from llmhub.dashboard.overview.numbers import NOTHING, chats_word, count_words, percent, usd_words
from llmhub.dashboard.overview.usage import (
    PERIODS,
    TOP,
    FirstSteps,
    Overview,
    Period,
    UsageTotals,
    attention,
    get_overview,
)
from llmhub.dashboard.overview.usage_charts import STATUS_LABELS, get_charts
from llmhub.dashboard.overview.viewer import Viewer
from llmhub.operations.models import Service
from llmhub.operations.status import Database, Status, get_status, hub_actions
from providers.models import Health

PROVIDER_STATES = {
    Health.HEALTHY: "healthy",
    Health.DEGRADED: "degraded",
    Health.UNHEALTHY: "unhealthy",
    Health.UNKNOWN: "not checked yet",
}


@dataclass(frozen=True, slots=True)
class Tile:
    label: str
    figure: Figure
    note: str = ""


@dataclass(frozen=True, slots=True)
class SetupStep:
    title: str
    text: str
    action: str
    url: str
    is_done: bool = False


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
    servers = [("Database", status.database is Database.READY), ("Redis", status.has_redis)]
    return [
        *((name, is_well, "answers" if is_well else "does not answer") for name, is_well in servers),
        *((part.label, part in status.alive, "alive" if part in status.alive else "silent") for part in Service),
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
            SetupStep(
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
            SetupStep(
                "Create a key for an application",
                "Each application that calls the hub has its own keys, and its name stands beside every chat it makes.",
                "To the API keys",
                viewer.page("admin:access_apikey_changelist", "access.view_apikey", "access.change_apikey"),
                is_done=done.has_key,
            ),
            SetupStep(
                "Make the first chat",
                "Here in the playground, or from a terminal with the key:",
                "To the playground",
                viewer.page("playground", "chat.use_chat"),
            ),
        ),
        "chat_url": viewer.request.build_absolute_uri("/api/chat/multi"),
    }


def _usage(overview: Overview, status: Status, viewer: Viewer) -> dict[str, Any]:
    return {
        "tiles": _tiles(overview.total, viewer),
        "by_status": [
            (label, Figure(*count_words(overview.by_status[status]), viewer.chats(statuses=[status])))
            for status, label in STATUS_LABELS.items()
            if overview.by_status[status]
        ],
        "charts": get_charts(overview) if overview.total.chats else (),
        "buckets": bucket_table(overview, viewer),
        "tables": cut_tables(overview, viewer, {row.name: row.pk for row in status.providers}),
        "errors": [
            (error, STATUS_LABELS[ChatStatus(error.status)], ", ".join(error.codes), error_figure(error, viewer))
            for error in overview.errors
        ],
    }


def _tiles(total: UsageTotals, viewer: Viewer) -> tuple[Tile, ...]:
    chats, errors, tokens, cost, p50, p95 = figures_of(total, viewer.chats)
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
        Tile("p50 latency", p50, "half took less, roughly"),
        Tile("p95 latency", p95, "95 % took less, roughly"),
    )

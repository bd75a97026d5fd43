"""The context of the dashboard, the admin's index page."""

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
from llmhub.dashboard.overview.lines import Figure, bucket_table, cut_tables, error_figure, usage_figures
from llmhub.dashboard.overview.numbers import NOTHING, format_count, format_percent, format_usd, pluralize_chats
from llmhub.dashboard.overview.usage import (
    MAX_ROWS,
    PERIODS,
    FirstSteps,
    Overview,
    Period,
    UsageTotals,
    attention,
    get_overview,
)
from llmhub.dashboard.overview.usage_charts import STATUS_COLOURS, get_charts
from llmhub.dashboard.overview.viewer import Viewer
from llmhub.operations.models import Service
from llmhub.operations.status import Database, Status, get_status, hub_actions
from providers.models import Health


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
    """Add the dashboard to the context of the admin's index page, as far as the user may see it."""
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
        "services": _services(status),
        **(_attention(status, viewer) if viewer.may_see_providers else {}),
        **(_first_run(overview.first_steps, viewer) if overview.first_steps else _usage(overview, status, viewer)),
    }


def _services(status: Status) -> list[tuple[str, bool, str]]:
    """Return the name, health and status text of each service."""
    servers = [("Database", status.database is Database.READY), ("Redis", status.has_redis)]
    return [
        *((name, is_up, "up" if is_up else "down") for name, is_up in servers),
        *((s.label, s in status.alive, "running" if s in status.alive else "not running") for s in Service),
    ]


def _attention(status: Status, viewer: Viewer) -> dict[str, Any]:
    items = list(attention(status))
    return {
        "sees_providers": True,
        "provider_count": len(status.providers),
        "providers_state": ", ".join(_state_counts(status)),
        "attention": [(item, viewer.provider(item.provider_id)) for item in items[:MAX_ROWS]],
        "more_attention": max(len(items) - MAX_ROWS, 0),
        "providers_url": reverse("admin:providers_providerconfig_changelist"),
    }


def _state_counts(status: Status) -> Iterable[str]:
    states = Counter(Health(row.health).label.lower() if row.enabled else "disabled" for row in status.providers)
    return (f"{count:,} {state}" for state, count in states.items())


def _first_run(completed: FirstSteps, viewer: Viewer) -> dict[str, Any]:
    return {
        "steps": (
            SetupStep(
                "Set up a provider",
                "Add a provider with its key, or check the existing one. It is ready once it is healthy.",
                "Providers",
                viewer.page(
                    "admin:providers_providerconfig_changelist",
                    "providers.view_providerconfig",
                    "providers.change_providerconfig",
                ),
                is_done=completed.has_healthy_provider,
            ),
            SetupStep(
                "Create a key for an application",
                "Each application has its own keys; its name is recorded with each of its chats.",
                "API keys",
                viewer.page("admin:access_apikey_changelist", "access.view_apikey", "access.change_apikey"),
                is_done=completed.has_key,
            ),
            SetupStep(
                "Send the first chat",
                "In the playground, or from a terminal with the key:",
                "Playground",
                viewer.page("playground", "chat.use_chat"),
            ),
        ),
        "chat_url": viewer.request.build_absolute_uri("/api/chat/multi"),
    }


def _usage(overview: Overview, status: Status, viewer: Viewer) -> dict[str, Any]:
    return {
        "tiles": _tiles(overview.total, viewer),
        "by_status": [
            (
                chat_status.label,
                Figure(*format_count(overview.by_status[chat_status]), viewer.chats(statuses=[chat_status])),
            )
            for chat_status in STATUS_COLOURS
            if overview.by_status[chat_status]
        ],
        "charts": get_charts(overview) if overview.total.chats else (),
        "buckets": bucket_table(overview, viewer),
        "tables": cut_tables(overview, viewer, {row.name: row.pk for row in status.providers}),
        "errors": [
            (error, ChatStatus(error.status).label, ", ".join(error.codes), error_figure(error, viewer))
            for error in overview.errors
        ],
    }


def _tiles(total: UsageTotals, viewer: Viewer) -> tuple[Tile, ...]:
    chats, errors, tokens, cost, p50, p95 = usage_figures(total, viewer.chats)
    open_note = f"{total.open_chats:,} started" if total.open_chats else ""
    unpriced_note = f"+ {total.unpriced_chats:,} {pluralize_chats(total.unpriced_chats)} of unknown price"
    return (
        Tile("Chats", chats, open_note),
        Tile(
            "Errors",
            errors,
            NOTHING if total.error_rate is None else f"{format_percent(total.error_rate)} of finished chats",
        ),
        Tile("Tokens", tokens, "prompt and completion"),
        Tile(
            "Cost",
            replace(cost, text=format_usd(total.cost_nano_usd)[0]),
            unpriced_note if total.unpriced_chats else "all prices known",
        ),
        Tile("p50 latency", p50, "approximate"),
        Tile("p95 latency", p95, "approximate"),
    )

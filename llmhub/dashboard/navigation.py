"""The admin's sidebar: what a user may see, by what it is for."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

GROUPS = (
    (
        "History",
        (
            ("Chats", "forum", "chat.chat"),
            ("Ledger", "receipt_long", "chat.ledgerevent"),
            ("Ledger writers", "history_edu", "chat.ledgerwriterseat"),
        ),
    ),
    (
        "Providers",
        (
            ("Providers", "dns", "providers.providerconfig"),
            ("Models", "neurology", "providers.providermodel"),
            ("Health checks", "monitor_heart", "providers.healthcheck"),
        ),
    ),
    (
        "Applications",
        (
            ("Applications", "apps", "access.application"),
            ("API keys", "key", "access.apikey"),
        ),
    ),
    (
        "Administration",
        (
            ("Users", "person", "auth.user"),
            ("Groups", "group", "auth.group"),
            ("Scheduled tasks", "schedule", "django_celery_beat.periodictask"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    groups = [{"title": title, "separator": True, "items": _items(request, entries)} for title, entries in GROUPS]
    return [group for group in groups if group["items"]]


def _items(request: HttpRequest, entries: tuple[tuple[str, str, str], ...]) -> list[dict[str, str]]:
    items = []
    for title, icon, model in entries:
        app, name = model.split(".")
        if any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change")):
            items.append({"title": title, "icon": icon, "link": reverse(f"admin:{app}_{name}_changelist")})
    return items

"""The admin's sidebar: the pages that a user may open, grouped by topic."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

PAGES = (
    (
        "",
        (
            ("Dashboard", "dashboard", "admin:index", ""),
            ("Playground", "science", "playground", "chat.use_chat"),
        ),
    ),
    (
        "Providers",
        (
            ("Providers", "dns", "providers.providerconfig"),
            ("Models", "neurology", "providers.providermodel"),
            ("Health checks", "monitor_heart", "providers.healthcheck"),
            ("Connection tests", "cable", "providers.connectiontest"),
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
        "History",
        (
            ("Chats", "forum", "chat.chat"),
            ("Changes", "manage_history", "history.change"),
            ("Ledger events", "receipt_long", "ledger.ledgerevent"),
            ("Ledger writers", "history_edu", "ledger.ledgerwriterrecord"),
        ),
    ),
    (
        "People",
        (
            ("Users", "person", "auth.user"),
            ("Groups", "group", "auth.group"),
            ("Second factors", "lock", "mfa.authenticator"),
        ),
    ),
    (
        "Schedules",
        (
            ("Periodic tasks", "schedule", "django_celery_beat.periodictask"),
            ("Intervals", "timer", "django_celery_beat.intervalschedule"),
            ("Crontabs", "calendar_clock", "django_celery_beat.crontabschedule"),
            ("Fixed times", "alarm", "django_celery_beat.clockedschedule"),
        ),
    ),
)
"""Shape: title and icon; then the model's label for a list, or a URL name and a permission for another page."""


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    groups = [{"title": title, "separator": bool(title), "items": _items(request, pages)} for title, pages in PAGES]
    return [group for group in groups if group["items"]]


def _items(request: HttpRequest, pages: tuple[tuple[str, ...], ...]) -> list[dict[str, str]]:
    links = [(title, icon, _link(request, *page)) for title, icon, *page in pages]
    return [{"title": title, "icon": icon, "link": link} for title, icon, link in links if link]


def _link(request: HttpRequest, name: str, permission: str | None = None) -> str:
    """Return a page's URL; "" if the user may not open it."""
    if permission is not None:
        return reverse(name) if not permission or request.user.has_perm(permission) else ""
    page = admin.site._registry.get(apps.get_model(name))
    if page is None or not page.has_view_or_change_permission(request):
        return ""
    return reverse(f"admin:{name.replace('.', '_')}_changelist")

"""What the tests of the providers' pages share."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from providers.manager import get_provider_manager
from providers.models import ProviderConfig
from tests.admin_pages import said

KEY = "sk-canary-4711-canary-abcd"
DEAD_URL = "http://127.0.0.1:9/v1"
LIST = "/admin/providers/providerconfig/"
MODELS = "/admin/providers/providermodel/"


def add(name: str = "vllm", base_url: str = DEAD_URL, **values: Any) -> ProviderConfig:
    values.setdefault("provider_type", "custom")
    return get_provider_manager().register_provider(name, base_url=base_url, **values)[0]


def page_of(row: ProviderConfig) -> str:
    return reverse("admin:providers_providerconfig_change", args=[row.pk])


def fields_of(row: ProviderConfig, **changes: Any) -> dict[str, Any]:
    fields = {
        "provider_type": row.provider_type,
        "base_url": row.base_url,
        "api_key": "",
        "default_model": row.default_model,
        "enabled": "on",
        "priority": row.priority,
        "timeout": row.timeout,
    }
    return fields | changes


def stored_key(row: ProviderConfig) -> str:
    """The key that is stored of a provider now, in clear."""
    row = ProviderConfig.objects.get(pk=row.pk)
    return row.api_key.reveal(place=row.key_place)


def act(client: Client, action: str, *rows: ProviderConfig) -> list[str]:
    """Run an action on rows of the list; return what was said."""
    return said(client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True))


def do(client: Client, action: str, row: ProviderConfig, **sent: str) -> Any:
    """Press a button of a row."""
    return client.post(reverse("admin:providers_providerconfig_do", args=[row.pk, action]), sent)

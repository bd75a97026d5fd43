"""The dashboard's user: permissions, and the links they allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from chat.history.links import chats_url


@dataclass(frozen=True)
class Viewer:
    """A user who views the chats since a time: permissions and links."""

    request: HttpRequest
    since: datetime

    @cached_property
    def may_see_chats(self) -> bool:
        return self._may("chat.view_chat")

    @cached_property
    def may_see_providers(self) -> bool:
        return self._may("providers.view_providerconfig", "providers.change_providerconfig")

    def chats(self, *, statuses: Iterable[str] = (), actor: str = "", **filters: Any) -> str:
        """Return the URL of the list of these chats; "" without permission."""
        if not self.may_see_chats:
            return ""
        extra = [("status", str(status)) for status in statuses] + ([("actor", actor)] if actor else [])
        url = chats_url(**{"since": self.since, **filters})
        return f"{url}&{urlencode(extra)}" if extra else url

    def provider(self, pk: int | None) -> str:
        may_link = pk is not None and self.may_see_providers
        return reverse("admin:providers_providerconfig_change", args=[pk]) if may_link else ""

    def page(self, url_name: str, *permissions: str) -> str:
        return reverse(url_name) if self._may(*permissions) else ""

    def _may(self, *permissions: str) -> bool:
        return any(self.request.user.has_perm(permission) for permission in permissions)

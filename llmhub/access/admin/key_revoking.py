"""Revoke API keys, one or many, after a confirmation page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.enums import ActionVariant

from llmhub.access.models import ApiKey, ApiKeyQuerySet
from llmhub.adminkit.times import time_ago

MAX_LISTED_KEYS = 100
"""How many keys the confirmation page lists."""


class KeyRevoking(ModelAdmin):  # type: ignore[misc]  # untyped
    actions = ("revoke",)
    actions_detail = ("revoke_this",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [path("revoke/", view, name="access_apikey_revoke"), *super().get_urls()]

    def has_revoke_permission(self, request: Any, object_id: Any = None) -> bool:
        """Whether the user may revoke keys, and this key is not revoked yet."""
        may: bool = request.user.has_perm("access.change_apikey")
        return may and (object_id is None or ApiKey.objects.with_ids([str(object_id)]).filter(revoked_at=None).exists())

    @admin.action(description="Revoke the selected keys…", permissions=["revoke"])
    def revoke(self, request: HttpRequest, keys: ApiKeyQuerySet) -> HttpResponse:
        return self._confirm(request, keys)

    @action(  # type: ignore[untyped-decorator]  # untyped
        description="Revoke…", permissions=["revoke"], url_path="revoke", icon="block", variant=ActionVariant.DANGER
    )
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._confirm(request, ApiKey.objects.with_ids([object_id]))

    def revoke_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm (GET) or perform (POST) the revocation of the keys whose ids are given."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        params = request.POST if request.method == "POST" else request.GET
        keys = ApiKey.objects.with_ids(params.get("keys", "").split(","))
        return self._revoke(request, keys) if request.method == "POST" else self._confirm(request, keys)

    def _confirm(self, request: HttpRequest, keys: ApiKeyQuerySet) -> HttpResponse:
        now = timezone.now()
        selected = list(keys.select_related("application").order_by("application__name", "name"))
        revocable = [key for key in selected if not key.revoked_at]
        return self._page(
            request,
            "access/revoke_keys.html",
            title="Revoke API keys" if len(selected) > 1 else "Revoke an API key",
            keys=[(key, key.state(now=now).label, time_ago(key.last_used_at)) for key in revocable[:MAX_LISTED_KEYS]],
            ids=",".join(str(key.pk) for key in selected),
            number=len(revocable),
            others=len(revocable[MAX_LISTED_KEYS:]),
            revoked_before=len(selected) - len(revocable),
        )

    def _revoke(self, request: HttpRequest, keys: ApiKeyQuerySet) -> HttpResponse:
        first_two = list(keys.filter(revoked_at=None).select_related("application")[:2])
        selected_count, revoked = keys.count(), keys.revoke(now=timezone.now())
        if revoked:
            subject = str(first_two[0]) if revoked == len(first_two) == 1 else f"{revoked} key{pluralize(revoked)}"
            self.message_user(request, f"Revoked {subject}. Requests are refused within a second.", messages.SUCCESS)
        if selected_count > revoked:
            self.message_user(request, f"{selected_count - revoked} already revoked.", messages.WARNING)
        if not selected_count:
            self.message_user(request, "No such key.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:access_apikey_changelist"))

    def _page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, {**shared, **context})

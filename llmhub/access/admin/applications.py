"""Admin pages of applications, with their keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display

from llmhub.access.admin.key_filters import VALID
from llmhub.access.admin.keys import STATE_COLOURS
from llmhub.access.models import ApiKey, Application, ApplicationQuerySet
from llmhub.access.snippets import snippets_for
from llmhub.adminkit.row_actions import RowActions
from llmhub.adminkit.times import time_ago
from llmhub.history.tab import HistoryTab

MAX_LISTED_KEYS = 50
"""How many keys an application's page lists, newest first."""


@admin.register(Application)
class ApplicationAdmin(HistoryTab, RowActions):
    list_display = ("name", "switched", "live_keys", "last_used", "chats", "description", "created")
    list_filter = ("is_active",)
    ordering = ("name",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("name", "description")
    search_help_text = "Part of the name or description"
    fields = ("name", "description", "is_active")
    actions = row_actions = ("switch_on", "switch_off")
    actions_detail = ("add_key", "show_chats")
    change_form_outer_after_template = "access/application_keys.html"
    delete_confirmation_template = "access/delete_application.html"
    delete_selected_confirmation_template = "access/delete_applications.html"

    class Media:
        css = {"all": ("access/access.css",)}
        js = ("adminkit/copy.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Application]:
        applications: ApplicationQuerySet = super().get_queryset(request)
        return applications.with_keys(now=timezone.now())

    def get_list_display(self, request: Any) -> tuple[str, ...]:
        may_switch = self.has_change_permission(request)
        columns = [name for name in self.list_display if name != "chats" or request.user.has_perm("chat.view_chat")]
        return tuple("switch" if may_switch and name == "switched" else name for name in columns)

    @display(description="enabled", ordering="is_active", label={"on": "success", "off": "danger"})  # type: ignore[untyped-decorator]  # untyped
    def switched(self, application: Application) -> str:
        return "on" if application.is_active else "off"

    @admin.display(description="enabled", ordering="is_active")
    def switch(self, application: Application) -> str:
        label = f"{application.name} enabled"
        if application.is_active:
            effect = "Disable: all its keys are refused"
            return self.switch_button(application, is_on=True, action="switch_off", label=label, title=effect)
        effect = "Enable: its keys are accepted again"
        return self.switch_button(application, is_on=False, action="switch_on", label=label, title=effect)

    @admin.display(description="active keys", ordering="live_key_count")
    def live_keys(self, application: Any) -> str:
        url = _keys_url(application, state=VALID)
        return format_html('<a class="llmhub-link" href="{}">{}</a>', url, application.live_key_count)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, application: Any) -> str:
        return time_ago(application.last_used_at)

    @admin.display(description="chats")
    def chats(self, application: Application) -> str:
        link = '<a class="llmhub-link" href="{}" aria-label="Chats of {}">Chats</a>'
        return format_html(link, _chats_url(application), application)

    @admin.display(description="created", ordering="created_at")
    def created(self, application: Application) -> str:
        return time_ago(application.created_at)

    @admin.action(description="Enable", permissions=["change"])
    def switch_on(self, request: HttpRequest, applications: ApplicationQuerySet) -> None:
        self._switch(request, applications, on=True)

    @admin.action(description="Disable and refuse all their keys", permissions=["change"])
    def switch_off(self, request: HttpRequest, applications: ApplicationQuerySet) -> None:
        self._switch(request, applications, on=False)

    def _switch(self, request: HttpRequest, applications: ApplicationQuerySet, *, on: bool) -> None:
        selected = list(applications.values_list("pk", "name"))
        changed = Application.objects.filter(pk__in=[pk for pk, _ in selected]).switch(on=on)
        subject = selected[0][1] if len(selected) == 1 else f"{changed} application{pluralize(changed)}"
        word = "enabled" if on else "disabled"
        effect = "Their keys are accepted again." if on else "Their keys are refused within a second."
        if changed:
            self.message_user(request, f"{subject} {word}. {effect}", messages.SUCCESS)
        if len(selected) > changed:
            already = f"{len(selected) - changed} already {word}."
            self.message_user(request, already, messages.WARNING)

    @action(description="Add key", permissions=["add_key"], url_path="add-key", icon="key")  # type: ignore[untyped-decorator]  # untyped
    def add_key(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        query = urlencode({"application": object_id})
        return HttpResponseRedirect(f"{reverse('admin:access_apikey_add')}?{query}")

    def has_add_key_permission(self, request: Any, _object_id: Any = None) -> bool:
        may: bool = request.user.has_perm("access.add_apikey")
        return may

    @action(description="Chats", permissions=["show_chats"], url_path="chats", icon="forum")  # type: ignore[untyped-decorator]  # untyped
    def show_chats(self, request: HttpRequest, object_id: str) -> HttpResponse:
        application = self.get_object(request, unquote(object_id))
        if application is None:
            raise Http404
        return HttpResponseRedirect(_chats_url(application))

    def has_show_chats_permission(self, request: Any, _object_id: Any = None) -> bool:
        """Check the permission here: for a Django permission name, unfold would query the database."""
        may: bool = request.user.has_perm("chat.view_chat") and self.has_view_permission(request)
        return may

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = self._keys(request, unquote(object_id)) if object_id else {}
        response: HttpResponse = super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def _keys(self, request: Any, object_id: str) -> dict[str, Any]:
        """Return the context of an application's keys. Runs two queries."""
        application: Any = self.get_object(request, object_id)
        if application is None or not request.user.has_perm("access.view_apikey"):
            return {}
        now = timezone.now()
        rows = ApiKey.objects.filter(application=application).select_related("application").order_by("-pk")
        return {
            "keys": [_key_row(key, now) for key in rows[:MAX_LISTED_KEYS]],
            "keys_url": _keys_url(application),
            "key_count": application.key_count,
            "snippets": snippets_for(None, hub_url=request.build_absolute_uri("/")),
        }

    def get_deleted_objects(self, objs: Iterable[Application], request: HttpRequest) -> Any:
        """Count the keys, which are deleted with their application and need no permission of their own."""
        pks = [application.pk for application in objs]
        applications: list[Any] = list(Application.objects.filter(pk__in=pks).with_keys(now=timezone.now()))
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        counts = {"applications": len(applications), "API keys": sum(a.key_count for a in applications)}
        return [_deletion_summary(application) for application in applications], counts, lacking, []


def _key_row(key: ApiKey, now: datetime) -> dict[str, Any]:
    state = key.state(now=now).label
    last_used = time_ago(key.last_used_at)
    return {"key": key, "state": state, "colour": STATE_COLOURS[state], "last_used": last_used}


def _deletion_summary(application: Any) -> str:
    return format_html(
        "{}: {} keys, {} of them active; last used {}",
        application, application.key_count, application.live_key_count, time_ago(application.last_used_at),
    )  # fmt: skip


def _keys_url(application: Application, *, state: str = "") -> str:
    filters = {"application__id__exact": application.pk, **({"state": state} if state else {})}
    return f"{reverse('admin:access_apikey_changelist')}?{urlencode(filters)}"


def _chats_url(application: Application) -> str:
    """Return the URL of the application's chats; by name, as this app must not import chats."""
    return f"{reverse('admin:chat_chat_changelist')}?{urlencode({'application': application.name})}"

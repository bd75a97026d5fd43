"""Admin pages of API keys; a new key's secret is shown once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from llmhub.access.admin.key_filters import ScopeFilter, StateFilter
from llmhub.access.admin.key_form import STORED, ApiKeyForm
from llmhub.access.admin.key_revoking import KeyRevoking
from llmhub.access.authentication import user_principal
from llmhub.access.models import ApiKey, KeyState
from llmhub.access.offers import get_offers, unmatched
from llmhub.access.one_time_secret import store_secret, take_secret
from llmhub.access.snippets import snippets_for
from llmhub.adminkit.initial_values import CheckedInitialValues
from llmhub.adminkit.secret_columns import SecretColumns
from llmhub.adminkit.times import exact_time, time_ago
from llmhub.history.tab import HistoryTab

STATE_COLOURS = {
    KeyState.LIVE.label: "success",
    KeyState.EXPIRES_SOON.label: "warning",
    KeyState.EXPIRED.label: "warning",
    KeyState.REVOKED.label: "danger",
    KeyState.SWITCHED_OFF.label: "info",
}


@admin.register(ApiKey)
class ApiKeyAdmin(CheckedInitialValues, HistoryTab, SecretColumns, KeyRevoking):
    """Changing a key needs the permission to issue keys; `change` alone permits only revocation."""

    form = ApiKeyForm
    secret_columns = frozenset({"digest"})
    list_display = (
        "name",
        "key",
        "application",
        "state",
        "scope_list",
        "expires",
        "last_used",
        "created",
    )
    list_select_related = ("application",)
    list_filter = (("application", AutocompleteSelectFilter), StateFilter, ScopeFilter)
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("name", "prefix", "application__name")
    search_help_text = "Name, prefix of the key, or application"
    autocomplete_fields = ("application",)
    change_form_outer_after_template = "access/snippets.html"
    add_form_template = "access/add_key.html"

    class Media:
        css = {"all": ("access/access.css",)}
        js = ("adminkit/copy.js",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.issued_view)
        return [path("<path:object_id>/issued/", view, name="access_apikey_issued"), *super().get_urls()]

    def has_change_permission(self, request: Any, obj: ApiKey | None = None) -> bool:
        may_issue: bool = super().has_change_permission(request, obj) and self.has_add_permission(request)
        return may_issue and not (obj and obj.revoked_at)

    def has_delete_permission(self, _request: HttpRequest, _obj: ApiKey | None = None) -> bool:
        return False

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return (*self.list_display, "revoke_link") if self.has_revoke_permission(request) else self.list_display

    @admin.display(description="key", ordering="prefix")
    def key(self, key: ApiKey) -> str:
        return format_html("<code>{}…</code>", key.prefix)

    @display(description="status", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def state(self, key: ApiKey) -> str:
        return key.state(now=timezone.now()).label

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> str:
        return time_ago(key.expires_at)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return time_ago(key.last_used_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        return time_ago(key.created_at)

    @admin.display(description="revoke")
    def revoke_link(self, key: ApiKey) -> str:
        if key.revoked_at:
            return format_html("revoked {}", time_ago(key.revoked_at))
        return format_html(
            '<a class="llmhub-danger-link" href="{}?keys={}" aria-label="Revoke {}">Revoke…</a>',
            reverse("admin:access_apikey_revoke"), key.pk, key,
        )  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("application", "name", "scopes", "lifetime", "expires_at")}), _allowed()]
        expiry = ("lifetime", "expires_at") if self.has_change_permission(request, obj) else ("expires",)
        use = ("key", "state", "last_used_exactly", "created_exactly", "revoked_exactly")
        allowed = _allowed(*(("matches_nothing",) if _unmatched(obj) else ()))
        return [(None, {"fields": ("application", "name", "scopes", *expiry)}), allowed, ("Usage", {"fields": use})]

    def get_readonly_fields(self, _request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        fields = (
            "key",
            "state",
            "expires",
            "last_used_exactly",
            "created_exactly",
            "revoked_exactly",
            "matches_nothing",
        )
        return ("application", *fields) if obj else ()

    @admin.display(description="no match")
    def matches_nothing(self, key: ApiKey) -> str:
        return format_html('<strong class="llmhub-warning">{}</strong>', ", ".join(_unmatched(key)))

    @admin.display(description="last used")
    def last_used_exactly(self, key: ApiKey) -> str:
        return _exact_time(key.last_used_at, none="never")

    @admin.display(description="created")
    def created_exactly(self, key: ApiKey) -> str:
        return _exact_time(key.created_at)

    @admin.display(description="revoked")
    def revoked_exactly(self, key: ApiKey) -> str:
        return _exact_time(key.revoked_at, none="–")

    def get_form(self, request: Any, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.grantable = user_principal(request.user).scopes
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        key = self.get_object(request, unquote(object_id)) if object_id else None
        context = {
            "show_save_and_add_another": False,
            "show_save_and_continue": bool(object_id),
            "snippets": snippets_for(key, hub_url=request.build_absolute_uri("/"))
            if key and not key.revoked_at
            else [],
        }
        response: HttpResponse = super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm[ApiKey], change: bool) -> None:
        """Save only the form's fields: the key may be revoked or used concurrently."""
        if change:
            obj.save(update_fields=[name for name in STORED if name in form.cleaned_data])
            return
        fields = {name: form.cleaned_data[name] for name in ("application", *STORED)}
        row, secret = ApiKey.objects.issue(**fields)
        obj.pk, obj.prefix, obj.digest = row.pk, row.prefix, row.digest
        store_secret(request.session, row.pk, secret)

    def response_add(self, _request: HttpRequest, obj: ApiKey, _post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:access_apikey_issued", args=[obj.pk]))

    def issued_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the secret of a new key once, to the user who issued it."""
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        key: ApiKey | None = self.get_object(request, unquote(object_id))
        if not self.has_add_permission(request):
            raise PermissionDenied
        if key is None:
            raise Http404
        if (secret := take_secret(request.session, key.pk)) is None:
            message = "The secret was shown once and is not stored. If you did not copy it, revoke this key."
            self.message_user(request, message, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:access_apikey_change", args=[key.pk]))
        return self._page(
            request,
            "access/issued_key.html",
            title="A new API key",
            key=key,
            secret=secret,
            snippets=snippets_for(key, hub_url=request.build_absolute_uri("/"), secret=secret),
        )


def _allowed(*extra: str) -> tuple[str, dict[str, Any]]:
    fields = ("allowed_providers", "allowed_models", *extra)
    return "Providers and models", {"fields": fields, "description": "The providers and models that the key may use."}


def _unmatched(key: ApiKey) -> list[str]:
    return unmatched(key.allowed_providers, key.allowed_models, get_offers())


def _exact_time(at: Any, *, none: str = "–") -> str:
    return format_html("{} ({})", time_ago(at), exact_time(at)) if at else none

"""Applications and their keys in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from llmhub.access.authentication import user_principal
from llmhub.access.models import ApiKey, ApiKeyQuerySet, Application
from llmhub.access.principals import Scope

STATE_COLOURS = {"live": "success", "expired": "warning", "revoked": "danger", "switched off": "warning"}


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    """Shows rows that nobody may add, change or delete here, not even a superuser. Never counts them all."""

    actions = None
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


class ApiKeyInline(TabularInline):  # type: ignore[misc]  # untyped
    model = ApiKey
    fields = readonly_fields = ("name", "prefix", "scopes", "expires_at", "revoked_at")
    extra = 0
    can_delete = False
    show_change_link = True
    verbose_name_plural = "API keys"

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


@admin.register(Application)
class ApplicationAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    list_display = ("name", "is_active", "live_keys", "description", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "description")
    fields = ("name", "description", "is_active")
    inlines = (ApiKeyInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Application]:
        is_live = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=timezone.now()))
        applications: QuerySet[Application] = super().get_queryset(request)
        return applications.annotate(live_key_count=Count("keys", filter=is_live))

    def get_inlines(self, _request: HttpRequest, obj: Application | None) -> tuple[type[ApiKeyInline], ...]:
        return self.inlines if obj else ()

    @admin.display(description="keys in force", ordering="live_key_count")
    def live_keys(self, application: Any) -> int:
        count: int = application.live_key_count
        return count


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    grantable: frozenset[str] = frozenset()
    """The scopes that whoever fills in the form has."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.CHAT],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the key may be used for.",
    )

    class Meta:
        model = ApiKey
        fields = ("application", "name", "scopes", "allowed_providers", "allowed_models", "expires_at")
        widgets = {"allowed_providers": UnfoldAdminTextInputWidget(), "allowed_models": UnfoldAdminTextInputWidget()}

    def clean_scopes(self) -> list[str]:
        scopes: list[str] = self.cleaned_data["scopes"]
        if beyond := sorted(set(scopes) - set(self.instance.scopes) - self.grantable):
            raise ValidationError(f"You cannot give what you may not do yourself: {', '.join(beyond)}.")
        return scopes

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise ValidationError("This has passed already. To end a key now, revoke it.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    form = ApiKeyForm
    list_display = ("prefix", "name", "application", "state", "scope_list", "expires_at", "created_at")
    list_display_links = ("prefix", "name")
    list_select_related = ("application",)
    list_filter = ("application",)
    search_fields = ("name", "prefix", "application__name")
    autocomplete_fields = ("application",)
    actions = ("revoke",)

    def get_fields(self, _request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (*ApiKeyForm.Meta.fields, *(("prefix", "created_at", "revoked_at") if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        if obj.revoked_at:
            return self.get_fields(request, obj)
        return ("application", "prefix", "created_at", "revoked_at")

    def get_form(self, request: Any, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.grantable = user_principal(request.user).scopes
        return form

    def save_model(self, request: Any, obj: ApiKey, form: forms.ModelForm[ApiKey], change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            row, request.issued_secret = ApiKey.objects.issue(**form.cleaned_data)
            obj.pk, obj.prefix, obj.digest = row.pk, row.prefix, row.digest

    def response_add(self, request: Any, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret in this one answer: no redirect could carry it without keeping it somewhere."""
        del post_url_continue
        context = {**self.admin_site.each_context(request), "title": "A new API key", "opts": self.opts}
        return TemplateResponse(
            request, "access/issued_key.html", {**context, "key": obj, "secret": request.issued_secret}
        )

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: ApiKeyQuerySet) -> None:
        chosen = keys.count()
        revoked = keys.revoke(now=timezone.now())
        self.message_user(request, f"{revoked} revoked.", messages.SUCCESS if revoked else messages.WARNING)
        if chosen > revoked:
            self.message_user(request, f"{chosen - revoked} had been revoked before.", messages.WARNING)

    @display(description="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        if key.expires_at and key.expires_at <= timezone.now():
            return "expired"
        return "live" if key.application.is_active else "switched off"

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

"""Providers in the admin."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from llmhub.access.admin import ReadOnlyAdmin
from providers.errors import ProviderError
from providers.manager import get_provider_manager, run
from providers.models import Health, HealthCheck, ProviderConfig, ProviderConfigQuerySet, ProviderModel
from providers.tasks import look_at_soon
from providers.types import ProbeResult

HEALTH_COLOURS = {
    Health.UNKNOWN.label: "info",
    Health.HEALTHY.label: "success",
    Health.DEGRADED.label: "warning",
    Health.UNHEALTHY.label: "danger",
}


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The stored key never comes out again: the field is empty, and left empty keeps it."""

    api_key = forms.CharField(
        label="API key", required=False, strip=True, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"})
    )
    forget_api_key = forms.BooleanField(
        label="Forget the stored key", required=False, widget=UnfoldBooleanWidget, help_text="Needs no new key."
    )

    class Meta:
        model = ProviderConfig
        fields = (
            "name",
            "provider_type",
            "base_url",
            "api_key",
            "default_model",
            "enabled",
            "priority",
            "rate_limit",
            "timeout",
            "settings",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored_key = self.instance.api_key
        self.initial["api_key"] = ""
        if self._stored_key and "api_key" in self.fields:
            self.fields["api_key"].widget.attrs["placeholder"] = f"{self._stored_key.masked}: leave empty to keep it"

    def clean_settings(self) -> Any:
        return self.cleaned_data["settings"] or {}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("api_key"):
            cleaned["api_key"] = "" if cleaned.get("forget_api_key") else self._stored_key
        return cleaned

    @property
    def changed_columns(self) -> list[str]:
        changed = {"api_key" if name == "forget_api_key" else name for name in self.changed_data}
        return [*changed, "updated_at"]


@admin.register(ProviderConfig)
class ProviderConfigAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    form = ProviderForm
    list_display = (
        "name",
        "provider_type",
        "health_label",
        "last_checked_at",
        "is_default",
        "enabled",
        "priority",
        "key",
        "model_count",
    )
    list_filter = ("provider_type", "health", "enabled")
    search_fields = ("name", "base_url", "default_model")
    ordering = ("-is_default", "priority", "name")
    readonly_fields = ("health_label", "health_changed_at", "last_checked_at", "last_error", "is_default", "key")
    actions = ("check_now", "refresh_models", "make_default", "enable", "disable")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderConfig]:
        providers: QuerySet[ProviderConfig] = super().get_queryset(request)
        return providers.annotate(available_models=Count("models", filter=Q(models__available=True)))

    def get_fieldsets(self, _request: HttpRequest, obj: ProviderConfig | None = None) -> Any:
        forget = ("forget_api_key",) if obj and obj.api_key else ()
        reach = {"fields": ("name", "provider_type", "base_url", "api_key", *forget, "default_model")}
        use = {"fields": ("enabled", "priority", "rate_limit", "timeout", "settings")}
        state = {"fields": ("key", "health_label", "health_changed_at", "last_checked_at", "last_error", "is_default")}
        return [(None, reach), ("How it is used", use), *([("How it is", state)] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: ProviderConfig | None = None) -> tuple[str, ...]:
        """A name stands in the history of chats, so it stays."""
        fixed: tuple[str, ...] = super().get_readonly_fields(request, obj)
        return (*fixed, "name") if obj else fixed

    def save_model(self, request: HttpRequest, obj: ProviderConfig, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_columns)
        else:
            super().save_model(request, obj, form, change)
            ProviderConfig.objects.make_default_if_none(obj.name)
        look_at_soon(obj.pk)

    def get_deleted_objects(
        self, objs: Any, _request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the providers alone: their checks are too many to list, and go with them whoever may delete checks."""
        return [str(provider) for provider in objs], {"providers": len(objs)}, set(), []

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        probes = run(check_each, providers.names())
        failed = {name: probe.error for name, probe in probes.items() if not probe.ok}
        self._tell(request, well=len(probes) - len(failed), words="healthy", failed=failed)

    @admin.action(description="Refresh models", permissions=["change"])
    def refresh_models(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        found = run(refresh_each, providers.names())
        failed = {name: error.message for name, error in found.items() if isinstance(error, ProviderError)}
        models = sum(len(names) for names in found.values() if not isinstance(names, ProviderError))
        self._tell(request, well=len(found) - len(failed), words=f"refreshed, {models} models", failed=failed)

    @admin.action(description="Make default", permissions=["change"])
    def make_default(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        names = providers.names()
        if len(names) != 1:
            self.message_user(request, "Choose one provider: there is one default.", messages.ERROR)
            return
        get_provider_manager().set_default(names[0])
        self.message_user(request, f"{names[0]} is the default now.", messages.SUCCESS)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self.message_user(request, f"{providers.switch(on=True)} enabled.", messages.SUCCESS)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self.message_user(request, f"{providers.switch(on=False)} disabled.", messages.SUCCESS)

    def _tell(self, request: HttpRequest, *, well: int, words: str, failed: dict[str, str]) -> None:
        if well:
            self.message_user(request, f"{well} {words}.", messages.SUCCESS)
        for name, error in failed.items():
            self.message_user(request, f"{name} failed: {error}", messages.ERROR)

    @display(description="health", ordering="health", label=HEALTH_COLOURS)  # type: ignore[untyped-decorator]  # untyped
    def health_label(self, provider: ProviderConfig) -> str:
        return Health(provider.health).label

    @display(description="API key", label={"cannot be decrypted": "danger"})  # type: ignore[untyped-decorator]  # untyped
    def key(self, provider: ProviderConfig) -> str:
        return provider.api_key.masked if provider.api_key else "none"

    @admin.display(description="models", ordering="available_models")
    def model_count(self, provider: Any) -> int:
        count: int = provider.available_models
        return count


async def check_each(names: Iterable[str]) -> dict[str, ProbeResult]:
    manager = get_provider_manager()
    names = list(names)
    return dict(zip(names, await asyncio.gather(*map(manager.health_check, names)), strict=True))


async def refresh_each(names: Iterable[str]) -> dict[str, list[str] | ProviderError]:
    async def refresh(name: str) -> list[str] | ProviderError:
        try:
            return await get_provider_manager().refresh_models(name)
        except ProviderError as error:
            return error

    names = list(names)
    return dict(zip(names, await asyncio.gather(*map(refresh, names)), strict=True))


class ProviderModelForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = ProviderModel
        fields = (
            "provider",
            "name",
            "available",
            "capabilities",
            "context_window",
            "max_output_tokens",
            "input_usd_per_mtok",
            "output_usd_per_mtok",
            "cached_input_usd_per_mtok",
        )
        widgets = {"capabilities": UnfoldAdminTextInputWidget()}


@admin.register(ProviderModel)
class ProviderModelAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    form = ProviderModelForm
    list_display = (
        "name",
        "provider",
        "available",
        "context_window",
        "input_usd_per_mtok",
        "output_usd_per_mtok",
        "last_seen_at",
    )
    list_select_related = ("provider",)
    list_filter = ("provider", "available")
    search_fields = ("name", "provider__name")
    autocomplete_fields = ("provider",)
    list_per_page = 50

    def get_fields(self, _request: HttpRequest, obj: ProviderModel | None = None) -> tuple[str, ...]:
        return (*ProviderModelForm.Meta.fields, *(("first_seen_at", "last_seen_at") if obj else ()))

    def get_readonly_fields(self, _request: HttpRequest, obj: ProviderModel | None = None) -> tuple[str, ...]:
        return ("provider", "name", "first_seen_at", "last_seen_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: ProviderModel, form: Any, change: bool) -> None:
        if not change:
            obj.first_seen_at = obj.last_seen_at = timezone.now()
        super().save_model(request, obj, form, change)


@admin.register(HealthCheck)
class HealthCheckAdmin(ReadOnlyAdmin):
    list_display = ("at", "provider", "ok", "latency_ms", "error")
    list_select_related = ("provider",)
    list_filter = ("provider", "ok")
    paginator = InfinitePaginator

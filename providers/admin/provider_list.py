"""The list of providers, with status, switch and buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.views import ChangeList

from llmhub.adminkit.badges import Colour, badge
from llmhub.adminkit.row_actions import RowActions, RowButton
from llmhub.adminkit.secret_columns import SecretColumns
from llmhub.adminkit.times import time_since
from providers.admin.provider_form import PriorityForm
from providers.admin.sparkline import sparkline
from providers.models import Health, ProviderConfig

HEALTH_COLOURS: Mapping[Health, Colour] = {
    Health.UNKNOWN: "info",
    Health.HEALTHY: "success",
    Health.DEGRADED: "warning",
    Health.UNHEALTHY: "danger",
}
SPARKLINE_CHECKS = 30
MAX_ERROR_CHARS = 70
CHECK_NOW = RowButton("check_now", "monitor_heart", "Check now")
REFRESH_MODELS = RowButton("refresh_models", "refresh", "Refresh models")
MAKE_DEFAULT = RowButton("make_default", "star", "Make default")


class ProviderChangeList(ChangeList):  # type: ignore[misc]  # untyped
    def get_results(self, request: HttpRequest) -> None:
        """Load the latest checks of all providers on the page in one query."""
        super().get_results(request)
        rows = list(self.result_list)
        latencies = ProviderConfig.objects.filter(pk__in=[row.pk for row in rows]).latest_latencies(
            checks=SPARKLINE_CHECKS
        )
        for row in rows:
            row.latest_latencies = latencies.get(row.pk, [])


class ProviderListAdmin(SecretColumns, RowActions):
    secret_columns = frozenset({"api_key"})
    list_display = (
        "name_and_star",
        "provider_type",
        "health_and_since",
        "last_problem",
        "latency",
        "model_count",
        "switch",
        "priority",
        "buttons",
    )
    list_display_links = ("name_and_star",)
    list_editable = ("priority",)
    list_filter = ("provider_type", "health", "enabled", "is_default")
    list_per_page = 40
    search_fields = ("name", "base_url", "default_model")
    ordering = ("-is_default", "priority", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderConfig]:
        providers: QuerySet[ProviderConfig] = super().get_queryset(request)
        return providers.annotate(offered_models=Count("models", filter=Q(models__listed=True, models__allowed=True)))

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ProviderChangeList]:
        return ProviderChangeList

    def get_changelist_form(self, _request: HttpRequest, **_kwargs: Any) -> type[PriorityForm]:
        return PriorityForm

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if self.has_change_permission(request):
            return self.list_display
        return tuple({"switch": "enabled"}.get(column, column) for column in self.list_display[:-1])

    @admin.display(description="name", ordering="name")
    def name_and_star(self, provider: ProviderConfig) -> str:
        if not provider.is_default:
            return provider.name
        star = SafeString('<span class="material-symbols-outlined" aria-hidden="true">star</span>')
        return format_html('{} <span class="pv-star">{}default</span>', provider.name, star)

    @admin.display(description="health", ordering="health")
    def health_and_since(self, provider: ProviderConfig) -> str:
        health = Health(provider.health)
        label = badge(health.label, HEALTH_COLOURS[health])
        if provider.health_changed_at is None:
            return label
        return format_html('{} <span class="pv-since">for {}</span>', label, time_since(provider.health_changed_at))

    @admin.display(description="last error")
    def last_problem(self, provider: ProviderConfig) -> str:
        if fault := provider.stored_key_fault:
            return format_html('<span class="pv-trouble">The API key {}.</span>', fault)
        text = Truncator(provider.last_error).chars(MAX_ERROR_CHARS)
        return format_html('<span class="pv-trouble">{}</span>', text) if text else ""

    @admin.display(description="latency")
    def latency(self, provider: Any) -> str:
        return sparkline(provider.latest_latencies)

    @admin.display(description="models", ordering="offered_models")
    def model_count(self, provider: Any) -> str:
        link = '<a class="llmhub-link" href="{}?provider__id__exact={}" aria-label="{} models of {}">{}</a>'
        url, count = reverse("admin:providers_providermodel_changelist"), provider.offered_models
        return format_html(link, url, provider.pk, count, provider.name, count)

    @admin.display(description="enabled", ordering="enabled")
    def switch(self, provider: ProviderConfig) -> str:
        action, label = "disable" if provider.enabled else "enable", f"{provider.name} enabled"
        return self.switch_button(provider, is_on=provider.enabled, action=action, label=label)

    @admin.display(description="actions")
    def buttons(self, provider: ProviderConfig, *, icons_only: bool = True) -> str:
        default = [] if provider.is_default else [MAKE_DEFAULT]
        return self.row_buttons(provider, CHECK_NOW, REFRESH_MODELS, *default, icons_only=icons_only)

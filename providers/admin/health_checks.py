"""Read-only admin pages of health checks."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from llmhub.adminkit.large_tables import LargeTableAdmin
from providers.models import HealthCheck


@admin.register(HealthCheck)
class HealthCheckAdmin(LargeTableAdmin):
    list_display = ("at", "provider", "result", "latency", "error")
    list_select_related = ("provider",)
    list_filter = (("provider", AutocompleteSelectFilter), "ok")
    list_filter_submit = True

    @display(description="result", label={"succeeded": "success", "failed": "danger"})  # type: ignore[untyped-decorator]  # untyped
    def result(self, check: HealthCheck) -> str:
        return "succeeded" if check.ok else "failed"

    @admin.display(description="latency")
    def latency(self, check: HealthCheck) -> str:
        return f"{check.latency_ms:,} ms"

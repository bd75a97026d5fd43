"""Admin pages of providers: form, connection test and status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from llmhub.access.secrets import Secret
from llmhub.adminkit.times import time_ago
from llmhub.history.tab import HistoryTab
from providers.admin.health_history import health_history
from providers.admin.provider_actions import ProviderActions, requester
from providers.admin.provider_form import ProviderForm
from providers.admin.provider_list import ProviderListAdmin
from providers.admin.setting_fields import setting_fields, visibility_conditions
from providers.connection_test import ConnectionTestResult, ConnectionTestStep, StepOutcome, run_connection_test
from providers.errors import ProviderError
from providers.manager import run
from providers.models import ConnectionTest, ConnectionTestSource, ProviderConfig, UnrecordedTestError
from providers.tasks import probe_and_refresh_soon

PROBED_COLUMNS = {"provider_type", "base_url", "api_key", "enabled", "timeout", "settings"}
"""The columns whose change triggers a probe at once."""
TESTED_FIELDS = ("provider_type", "base_url", "api_key", "default_model", "timeout", *setting_fields())


@admin.register(ProviderConfig)
class ProviderConfigAdmin(HistoryTab, ProviderListAdmin, ProviderActions):
    form = ProviderForm
    conditional_fields: ClassVar[Mapping[str, str]] = visibility_conditions()
    change_form_template = "providers/provider_form.html"

    class Media:
        css: ClassVar = {"all": ("providers/providers.css",)}
        js = ("providers/connection.js", "providers/priorities.js")

    def get_fieldsets(self, request: HttpRequest, obj: ProviderConfig | None = None) -> Any:
        connection: tuple[str, ...]
        if obj and not self.has_change_permission(request, obj):
            connection = ("name", "provider_type", "base_url", "default_model", "settings")
        elif not self.has_add_permission(request):
            connection = ("name", "provider_type", "base_url", "default_model")
        else:
            delete_key = ("forget_api_key",) if obj and obj.api_key else ()
            connection = (
                "name",
                "provider_type",
                "base_url",
                "api_key",
                *delete_key,
                "default_model",
                *setting_fields(),
            )
        routing = ("enabled", "priority", "rate_limit", "timeout")
        return [("Connection", {"fields": connection}), ("Routing", {"fields": routing})]

    def get_readonly_fields(self, request: HttpRequest, obj: ProviderConfig | None = None) -> tuple[str, ...]:
        """Names are permanent, as the history of chats holds them. Changing a URL needs permission to add providers.

        Else a user with only change permission could send a stored key to a host of their own.
        """
        if obj is None:
            return ()
        return ("name",) if self.has_add_permission(request) else ("name", "provider_type", "base_url")

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: ProviderConfig | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        context |= {"test_url": self._test_url(obj) if may_change else ""}
        if obj:
            context |= {
                "facts": self._facts(obj, context["adminform"].form.stored_key),
                "history": health_history(obj, now=timezone.now()),
                "model_names": obj.models.offered().values_list("name", flat=True),
                "row_buttons": self.buttons(obj, icons_only=False) if may_change else "",
            }
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    def save_model(self, request: HttpRequest, obj: ProviderConfig, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_columns)
            if not PROBED_COLUMNS.isdisjoint(form.changed_columns):
                probe_and_refresh_soon(obj.pk)
        else:
            super().save_model(request, obj, form, change)
            ProviderConfig.objects.make_default_if_none(obj.name)
            probe_and_refresh_soon(obj.pk)

    def get_deleted_objects(
        self, objs: Any, _request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """List only the providers: their many checks are deleted with them, without a permission of their own."""
        return [str(provider) for provider in objs], {"providers": len(objs)}, set(), []

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("add/try/", wrap(self.test_connection), name="providers_providerconfig_try_new"),
            path("<int:pk>/try/", wrap(self.test_connection), name="providers_providerconfig_try"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def test_connection(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Test the connection with the submitted form; save nothing but a record of the test."""
        row = self.get_object(request, str(pk)) if pk else None
        if pk and row is None:
            return self._test_page(request, error_message="This provider no longer exists.")
        if not (self.has_change_permission(request, row) if row else self.has_add_permission(request)):
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        failed_steps = [step for name in TESTED_FIELDS if name in form.errors for step in _failed_steps(form, name)]
        if failed_steps:
            return self._test_page(request, result=ConnectionTestResult(steps=tuple(failed_steps)))
        try:
            test = ConnectionTest.objects.begin(form.instance, **requester(request), through=ConnectionTestSource.FORM)
            result = run(run_connection_test, form.instance)
        except (UnrecordedTestError, ProviderError) as error:
            return self._test_page(request, error_message=str(error))
        test.end(ok=result.is_good, words=result.summary)
        return self._test_page(request, result=result)

    def _test_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        return TemplateResponse(request, "providers/connection_test.html", context)

    def _test_url(self, obj: ProviderConfig | None) -> str:
        if obj is None:
            return reverse("admin:providers_providerconfig_try_new")
        return reverse("admin:providers_providerconfig_try", args=[obj.pk])

    def _facts(self, provider: ProviderConfig, stored: Secret | None) -> dict[str, str]:
        """Return the facts of a provider that its form does not show."""
        checked_at, set_at = provider.last_checked_at, provider.api_key_set_at
        key = stored.masked if stored else "–"
        return {
            "Health": self.health_and_since(provider),
            "Last checked": time_ago(checked_at),
            "Last error": provider.last_error or "–",
            "API key": format_html("{}, set {}", key, time_ago(set_at)) if stored and set_at else key,
            "Default": "yes" if provider.is_default else "no",
            "Models": self.model_count(provider),
            "Connection tests": tests_link(provider),
        }


def tests_link(provider: ProviderConfig) -> str:
    url = f"{reverse('admin:providers_connectiontest_changelist')}?{urlencode({'provider': provider.name})}"
    return format_html('<a class="llmhub-link" href="{}">All connection tests</a>', url)


def _failed_steps(form: Any, name: str) -> Iterable[ConnectionTestStep]:
    label = form.fields[name].label or name
    return (
        ConnectionTestStep(title=f"Validate the form: {label}", outcome=StepOutcome.FAILED, message=str(e))
        for e in form.errors[name]
    )

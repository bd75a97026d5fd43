"""The pages of providers in the admin: their form, its trial, and how each is."""

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
from providers.admin.provider_actions import ProviderActions, asker
from providers.admin.provider_form import ProviderForm
from providers.admin.provider_list import ProviderListAdmin
from providers.admin.setting_fields import setting_fields, shown_for
from providers.connection_test import ConnectionTestResult, ConnectionTestStep, StepOutcome, run_connection_test
from providers.errors import ProviderError
from providers.manager import run
from providers.models import AskedThrough, ConnectionTest, NotRecordedError, ProviderConfig
from providers.tasks import look_at_soon

LOOKED_AT_ANEW = {"provider_type", "base_url", "api_key", "enabled", "timeout", "settings"}
"""The columns after whose change a provider is looked at before the next round."""
TRIED_FIELDS = ("provider_type", "base_url", "api_key", "default_model", "timeout", *setting_fields())


@admin.register(ProviderConfig)
class ProviderConfigAdmin(HistoryTab, ProviderListAdmin, ProviderActions):
    form = ProviderForm
    conditional_fields: ClassVar[Mapping[str, str]] = shown_for()
    change_form_template = "providers/provider_form.html"

    class Media:
        css: ClassVar = {"all": ("providers/providers.css",)}
        js = ("providers/connection.js", "providers/priorities.js")

    def get_fieldsets(self, request: HttpRequest, obj: ProviderConfig | None = None) -> Any:
        reach: tuple[str, ...]
        if obj and not self.has_change_permission(request, obj):
            reach = ("name", "provider_type", "base_url", "default_model", "settings")
        elif not self.has_add_permission(request):
            reach = ("name", "provider_type", "base_url", "default_model")
        else:
            forget = ("forget_api_key",) if obj and obj.api_key else ()
            reach = ("name", "provider_type", "base_url", "api_key", *forget, "default_model", *setting_fields())
        use = ("enabled", "priority", "rate_limit", "timeout")
        return [("How it is reached", {"fields": reach}), ("How it is used", {"fields": use})]

    def get_readonly_fields(self, request: HttpRequest, obj: ProviderConfig | None = None) -> tuple[str, ...]:
        """A name stands in the history of chats, so it stays; who may not add a provider does not move one either.

        Else whoever runs providers could send the stored key of one to a host of their own.
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
        context |= {"trial_url": self._trial_url(obj) if may_change else ""}
        if obj:
            context |= {
                "state": self._state(obj, context["adminform"].form.stored_key),
                "history": health_history(obj, now=timezone.now()),
                "model_names": obj.models.offered().values_list("name", flat=True),
                "actions_here": self.buttons(obj, icons_only=False) if may_change else "",
            }
        answer: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return answer

    def save_model(self, request: HttpRequest, obj: ProviderConfig, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_columns)
            if not LOOKED_AT_ANEW.isdisjoint(form.changed_columns):
                look_at_soon(obj.pk)
        else:
            super().save_model(request, obj, form, change)
            ProviderConfig.objects.make_default_if_none(obj.name)
            look_at_soon(obj.pk)

    def get_deleted_objects(
        self, objs: Any, _request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the providers alone: their checks are too many to list, and go with them whoever may delete checks."""
        return [str(provider) for provider in objs], {"providers": len(objs)}, set(), []

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("add/try/", wrap(self.try_form), name="providers_providerconfig_try_new"),
            path("<int:pk>/try/", wrap(self.try_form), name="providers_providerconfig_try"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def try_form(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Try the connection of the form as it stands, saving nothing but that it was tried."""
        row = self.get_object(request, str(pk)) if pk else None
        if pk and row is None:
            return self._trial_page(request, lost="This provider does not exist any more.")
        if not (self.has_change_permission(request, row) if row else self.has_add_permission(request)):
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        faults = [step for name in TRIED_FIELDS if name in form.errors for step in _faults(form, name)]
        if faults:
            return self._trial_page(request, trial=ConnectionTestResult(steps=tuple(faults)))
        try:
            test = ConnectionTest.objects.begin(form.instance, **asker(request), through=AskedThrough.FORM)
            trial = run(run_connection_test, form.instance)
        except (NotRecordedError, ProviderError) as error:
            return self._trial_page(request, lost=str(error))
        test.end(ok=trial.is_good, words=trial.words)
        return self._trial_page(request, trial=trial)

    def _trial_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        return TemplateResponse(request, "providers/connection_test.html", context)

    def _trial_url(self, obj: ProviderConfig | None) -> str:
        if obj is None:
            return reverse("admin:providers_providerconfig_try_new")
        return reverse("admin:providers_providerconfig_try", args=[obj.pk])

    def _state(self, provider: ProviderConfig, stored: Secret | None) -> dict[str, str]:
        """What is known of a provider besides what stands in its form."""
        checked_at, set_at = provider.last_checked_at, provider.api_key_set_at
        key = stored.masked if stored else "none"
        return {
            "Health": self.health_and_since(provider),
            "Last checked": time_ago(checked_at),
            "Last error": provider.last_error or "none",
            "API key": format_html("{}, set {}", key, time_ago(set_at)) if stored and set_at else key,
            "Default": "yes" if provider.is_default else "no",
            "Models": self.model_count(provider),
            "Connection tests": tests_link(provider),
        }


def tests_link(provider: ProviderConfig) -> str:
    url = f"{reverse('admin:providers_connectiontest_changelist')}?{urlencode({'provider': provider.name})}"
    return format_html('<a class="llmhub-link" href="{}">who tested what, and when</a>', url)


def _faults(form: Any, name: str) -> Iterable[ConnectionTestStep]:
    label = form.fields[name].label or name
    return (
        ConnectionTestStep(title=f"Read the form: {label}", outcome=StepOutcome.FAILED, words=str(e))
        for e in form.errors[name]
    )

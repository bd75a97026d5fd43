"""Providers in the admin: the list, what can be done to them, and their pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from llmhub.access.history_admin import HistoryTab
from llmhub.access.secrets import Secret
from providers.admin.acting import check_each, refresh_each
from providers.admin.badges import badge
from providers.admin.health_history import health_history
from providers.admin.provider_form import PriorityForm, ProviderForm
from providers.admin.setting_fields import setting_fields, shown_for
from providers.admin.sparkline import sparkline
from providers.errors import ProviderError
from providers.manager import get_provider_manager, run
from providers.models import Health, ProviderConfig, ProviderConfigQuerySet
from providers.tasks import look_at_soon
from providers.trial import Outcome, Step, Trial, try_provider
from providers.types import ProbeResult
from providers.words import ago, moment

HEALTH_COLOURS: Mapping[Health, Literal["info", "success", "warning", "danger"]] = {
    Health.UNKNOWN: "info",
    Health.HEALTHY: "success",
    Health.DEGRADED: "warning",
    Health.UNHEALTHY: "danger",
}
SPARKLINE_CHECKS = 30
ERROR_WORDS_CHARS = 70
ACTIONS = ("check_now", "refresh_models", "make_default", "enable", "disable")
LOOKED_AT_ANEW = {"provider_type", "base_url", "api_key", "enabled", "timeout", "settings"}
"""The columns after whose change a provider is looked at before the next round."""
TRIED_FIELDS = ("provider_type", "base_url", "api_key", "default_model", "timeout", *setting_fields())


class ProviderChangeList(ChangeList):  # type: ignore[misc]  # untyped
    def get_results(self, request: HttpRequest) -> None:
        """Add the latest checks of the providers on this page, with one query for all."""
        super().get_results(request)
        rows = list(self.result_list)
        latencies = ProviderConfig.objects.filter(pk__in=[row.pk for row in rows]).latest_latencies(
            checks=SPARKLINE_CHECKS
        )
        for row in rows:
            row.latest_latencies = latencies.get(row.pk, [])


@admin.register(ProviderConfig)
class ProviderConfigAdmin(HistoryTab, ModelAdmin):  # type: ignore[misc]  # untyped
    form = ProviderForm
    conditional_fields: ClassVar[Mapping[str, str]] = shown_for()
    change_form_template = "providers/provider_form.html"
    list_after_template = "providers/row_actions_form.html"
    list_display = (
        "name_and_star",
        "provider_type",
        "health_and_since",
        "trouble",
        "latency",
        "model_count",
        "switch",
        "priority",
        "row_actions",
    )
    list_display_links = ("name_and_star",)
    list_editable = ("priority",)
    list_filter = ("provider_type", "health", "enabled", "is_default")
    list_per_page = 40
    search_fields = ("name", "base_url", "default_model")
    ordering = ("-is_default", "priority", "name")
    actions = ACTIONS

    class Media:
        css: ClassVar = {"all": ("providers/providers.css",)}
        js = ("providers/connection.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderConfig]:
        providers: QuerySet[ProviderConfig] = super().get_queryset(request)
        return providers.annotate(available_models=Count("models", filter=Q(models__available=True)))

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ProviderChangeList]:
        return ProviderChangeList

    def get_changelist_form(self, _request: HttpRequest, **_kwargs: Any) -> type[PriorityForm]:
        return PriorityForm

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if self.has_change_permission(request):
            return self.list_display
        return tuple({"switch": "enabled"}.get(column, column) for column in self.list_display[:-1])

    # The form

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
        context |= {"trial_url": self._trial_url(obj) if may_change else "", "next": request.get_full_path()}
        if obj:
            context |= {
                "state": self._state(obj, context["adminform"].form.stored_key),
                "history": health_history(obj, now=timezone.now()),
                "model_names": obj.models.filter(available=True).values_list("name", flat=True),
                "actions_here": self._buttons(obj) if may_change else "",
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

    # Views of its own

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("add/try/", wrap(self.try_form), name="providers_providerconfig_try_new"),
            path("<int:pk>/try/", wrap(self.try_form), name="providers_providerconfig_try"),
            path("<int:pk>/do/<str:action>/", wrap(self.act_on_one), name="providers_providerconfig_do"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def act_on_one(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Do to one provider what an action of the list does to many, and go back to where the button was."""
        if action not in ACTIONS:
            raise Http404
        if not self.has_change_permission(request):
            raise PermissionDenied
        providers = ProviderConfig.objects.filter(pk=pk)
        if providers.exists():
            getattr(self, action)(request, providers)
        else:
            self.message_user(request, "This provider does not exist any more.", messages.WARNING)
        return HttpResponseRedirect(self._next(request))

    @method_decorator(require_POST)
    def try_form(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Try the connection of the form as it stands, without saving anything."""
        row = self.get_object(request, str(pk)) if pk else None
        if pk and row is None:
            return self._trial_page(request, lost="This provider does not exist any more.")
        if not (self.has_change_permission(request, row) if row else self.has_add_permission(request)):
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        faults = [step for name in TRIED_FIELDS if name in form.errors for step in _faults(form, name)]
        return self._trial_page(
            request, trial=Trial(steps=tuple(faults)) if faults else run(try_provider, form.instance)
        )

    def _trial_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        return TemplateResponse(request, "providers/trial.html", context)

    def _trial_url(self, obj: ProviderConfig | None) -> str:
        if obj is None:
            return reverse("admin:providers_providerconfig_try_new")
        return reverse("admin:providers_providerconfig_try", args=[obj.pk])

    def _next(self, request: HttpRequest) -> str:
        wanted = request.POST.get("next", "")
        if url_has_allowed_host_and_scheme(
            wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        ):
            return wanted
        return reverse("admin:providers_providerconfig_changelist")

    # Actions

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        probes = run(check_each, providers.names())
        failed = {name: fault for name, probe in probes.items() if (fault := _probe_fault(probe))}
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
        row = get_provider_manager().set_default(names[0])
        self.message_user(request, f"{row.name} is the default now.", messages.SUCCESS)
        if not row.enabled:
            self.message_user(request, f"{row.name} is disabled: chats pass it over.", messages.WARNING)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=False)

    def _switch(self, request: HttpRequest, providers: ProviderConfigQuerySet, *, on: bool) -> None:
        word = "enabled" if on else "disabled"
        to_switch = providers.filter(enabled=not on).names()
        already = providers.filter(enabled=on).names()
        switched = ProviderConfig.objects.filter(name__in=to_switch).switch(on=on)
        if switched:
            self.message_user(request, f"{switched} {word}: {', '.join(to_switch)}.", messages.SUCCESS)
        if already:
            self.message_user(request, f"{len(already)} already {word}: {', '.join(already)}.", messages.INFO)

    def _tell(self, request: HttpRequest, *, well: int, words: str, failed: dict[str, str]) -> None:
        if well:
            self.message_user(request, f"{well} {words}.", messages.SUCCESS)
        for name, error in failed.items():
            self.message_user(request, f"{name} failed: {error}", messages.ERROR)

    # What the list and the pages show

    @admin.display(description="name", ordering="name")
    def name_and_star(self, provider: ProviderConfig) -> str:
        if not provider.is_default:
            return provider.name
        star = SafeString('<span class="material-symbols-outlined" aria-hidden="true">star</span>')
        return format_html('{} <span class="pv-star">{}default</span>', provider.name, star)

    @admin.display(description="health", ordering="health")
    def health_and_since(self, provider: ProviderConfig) -> str:
        health = Health(provider.health)
        shown = badge(health.label, HEALTH_COLOURS[health])
        if provider.health_changed_at is None:
            return shown
        return format_html('{} <span class="pv-since">for {}</span>', shown, moment(provider.health_changed_at))

    @admin.display(description="last error")
    def trouble(self, provider: ProviderConfig) -> str:
        if provider.api_key and not provider.api_key.is_readable:
            return format_html('<span class="pv-trouble">{}</span>', "The API key cannot be decrypted: enter it again.")
        words = Truncator(provider.last_error).chars(ERROR_WORDS_CHARS)
        return format_html('<span class="pv-trouble">{}</span>', words) if words else ""

    @admin.display(description="latency")
    def latency(self, provider: Any) -> str:
        return sparkline(provider.latest_latencies)

    @admin.display(description="models", ordering="available_models")
    def model_count(self, provider: Any) -> str:
        url = reverse("admin:providers_providermodel_changelist")
        return format_html(
            '<a class="pv-link" href="{}?provider__id__exact={}" aria-label="{} models of {}">{}</a>',
            url,
            provider.pk,
            provider.available_models,
            provider.name,
            provider.available_models,
        )

    @admin.display(description="enabled", ordering="enabled")
    def switch(self, provider: ProviderConfig) -> str:
        return format_html(
            '<button class="pv-switch" type="submit" form="row-actions" formaction="{}" role="switch" '
            'aria-checked="{}" aria-label="{} enabled"><span class="pv-knob"></span></button>',
            _do_url(provider, "disable" if provider.enabled else "enable"),
            "true" if provider.enabled else "false",
            provider.name,
        )

    @admin.display(description="actions")
    def row_actions(self, provider: ProviderConfig) -> str:
        return self._buttons(provider, icons_only=True)

    def _buttons(self, provider: ProviderConfig, *, icons_only: bool = False) -> SafeString:
        default = [] if provider.is_default else [("make_default", "star", "Make default")]
        buttons = [
            ("check_now", "monitor_heart", "Check now"),
            ("refresh_models", "refresh", "Refresh models"),
            *default,
        ]
        context = {
            "provider": provider,
            "icons_only": icons_only,
            "buttons": [(_do_url(provider, action), icon, words) for action, icon, words in buttons],
        }
        return render_to_string("providers/buttons.html", context)

    def _state(self, provider: ProviderConfig, stored: Secret | None) -> dict[str, str]:
        """What is known of a provider besides what stands in its form."""
        checked_at, set_at = provider.last_checked_at, provider.api_key_set_at
        key = stored.masked if stored else "none"
        return {
            "Health": self.health_and_since(provider),
            "Last checked": ago(checked_at) if checked_at else "never",
            "Last error": provider.last_error or "none",
            "API key": format_html("{}, set {}", key, ago(set_at)) if stored and set_at else key,
            "Default": "yes" if provider.is_default else "no",
            "Models": self.model_count(provider),
        }


def _do_url(provider: ProviderConfig, action: str) -> str:
    return reverse("admin:providers_providerconfig_do", args=[provider.pk, action])


def _probe_fault(probe: ProbeResult | ProviderError) -> str:
    return probe.message if isinstance(probe, ProviderError) else probe.error


def _faults(form: Any, name: str) -> Iterable[Step]:
    label = form.fields[name].label or name
    return (Step(title=f"Read the form: {label}", outcome=Outcome.FAILED, words=str(e)) for e in form.errors[name])

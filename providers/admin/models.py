"""Admin pages of models, with their prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from llmhub.adminkit.badges import badge
from llmhub.adminkit.initial_values import CheckedInitialValues
from llmhub.adminkit.row_actions import RowActions
from llmhub.adminkit.times import time_ago
from llmhub.history.tab import HistoryTab
from providers.models import ProviderModel, ProviderModelQuerySet
from providers.pricing import known_price
from providers.types import Price

UNKNOWN = "–"


class ProviderModelForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = ProviderModel
        fields = (
            "provider",
            "name",
            "allowed",
            "capabilities",
            "context_window",
            "max_output_tokens",
            "input_usd_per_mtok",
            "output_usd_per_mtok",
            "cached_input_usd_per_mtok",
        )
        widgets: ClassVar = {"capabilities": UnfoldAdminTextInputWidget()}
        help_texts: ClassVar = {
            "capabilities": "Any of <code>chat,embeddings,tools,vision,reasoning</code>, separated by commas.",
            "output_usd_per_mtok": "USD per million tokens, e.g. <code>10.00</code>.",
            "cached_input_usd_per_mtok": "USD per million tokens; empty: the input price applies.",
        }


@admin.register(ProviderModel)
class ProviderModelAdmin(CheckedInitialValues, HistoryTab, RowActions):
    form = ProviderModelForm
    list_display = (
        "name",
        "provider",
        "state",
        "allowance",
        "can",
        "window",
        "price",
        "public_price",
        "first_seen",
        "last_seen",
    )
    list_select_related = ("provider",)
    list_filter = (("provider", AutocompleteSelectFilter), "listed", "allowed")
    list_filter_submit = True
    search_fields = ("name", "provider__name")
    autocomplete_fields = ("provider",)
    list_per_page = 50
    actions = row_actions = ("allow", "switch_off")

    class Media:
        css: ClassVar = {"all": ("providers/providers.css",)}

    def get_fieldsets(self, _request: HttpRequest, obj: ProviderModel | None = None) -> Any:
        fields = ProviderModelForm.Meta.fields
        prices = {
            "fields": (*fields[6:], *(("public_price",) if obj else ())),
            "description": "A refresh never overwrites these prices.",
        }
        availability = [("Availability", {"fields": ("state", "first_seen_at", "last_seen_at")})] if obj else []
        return [("Model", {"fields": fields[:6]}), ("Prices", prices), *availability]

    def get_readonly_fields(self, _request: HttpRequest, obj: ProviderModel | None = None) -> tuple[str, ...]:
        return ("provider", "name", "public_price", "state", "first_seen_at", "last_seen_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: ProviderModel, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            obj.first_seen_at = obj.last_seen_at = timezone.now()
            super().save_model(request, obj, form, change)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if self.has_change_permission(request):
            return self.list_display
        return tuple({"allowance": "allowed"}.get(column, column) for column in self.list_display)

    @admin.action(description="Enable", permissions=["change"])
    def allow(self, request: HttpRequest, models: ProviderModelQuerySet) -> None:
        self._allow(request, models, on=True)

    @admin.action(description="Disable and refuse chats with them", permissions=["change"])
    def switch_off(self, request: HttpRequest, models: ProviderModelQuerySet) -> None:
        self._allow(request, models, on=False)

    def _allow(self, request: HttpRequest, models: ProviderModelQuerySet, *, on: bool) -> None:
        selected = list(models.values_list("pk", "name"))
        changed = ProviderModel.objects.filter(pk__in=[pk for pk, _ in selected]).allow(on=on)
        subject = selected[0][1] if len(selected) == 1 else f"{changed} model{pluralize(changed)}"
        effect = "enabled." if on else "disabled: chats with it are refused within a second."
        if changed:
            self.message_user(request, f"{subject} {effect}", messages.SUCCESS)
        if len(selected) > changed:
            already = f"{len(selected) - changed} already {'enabled' if on else 'disabled'}."
            self.message_user(request, already, messages.WARNING)

    @admin.display(description="enabled", ordering="allowed")
    def allowance(self, model: ProviderModel) -> str:
        action, label = "switch_off" if model.allowed else "allow", f"{model} enabled"
        return self.switch_button(model, is_on=model.allowed, action=action, label=label)

    @admin.display(description="status", ordering="listed")
    def state(self, model: ProviderModel) -> str:
        if model.listed:
            return badge("listed", "success")
        since = date_format(model.last_seen_at)
        return format_html('{} <span class="pv-since">since {}</span>', badge("not listed", "warning"), since)

    @admin.display(description="capabilities")
    def can(self, model: ProviderModel) -> str:
        return ", ".join(model.capabilities) or UNKNOWN

    @admin.display(description="context window", ordering="context_window")
    def window(self, model: ProviderModel) -> str:
        return f"{model.context_window:,}" if model.context_window else UNKNOWN

    @admin.display(description="price in / out (cached)", ordering="input_usd_per_mtok")
    def price(self, model: ProviderModel) -> str:
        return _price_text(model.price)

    @admin.display(description="public list price")
    def public_price(self, model: ProviderModel) -> str:
        public = known_price(model.provider.backend.price_list, model.name, now=timezone.now())
        if public == Price():
            return "–"
        if _rounded(public) == _rounded(model.price):
            return "same"
        return format_html('<span class="pv-differs"><strong>differs:</strong> {}</span>', _price_text(public))

    @admin.display(description="first seen", ordering="first_seen_at")
    def first_seen(self, model: ProviderModel) -> str:
        return time_ago(model.first_seen_at)

    @admin.display(description="last seen", ordering="last_seen_at")
    def last_seen(self, model: ProviderModel) -> str:
        return time_ago(model.last_seen_at)


def _price_text(price: Price) -> str:
    """Return the prices in USD per million tokens."""
    if price == Price():
        return UNKNOWN
    cached = price.cached_input_usd_per_mtok
    both = f"{_usd(price.input_usd_per_mtok)} / {_usd(price.output_usd_per_mtok)}"
    return both if cached is None else f"{both} ({_usd(cached)})"


def _usd(amount: Decimal | None) -> str:
    if amount is None:
        return "–"
    return f"${amount:.2f}" if amount == round(amount, 2) else f"${amount.normalize():f}"


def _rounded(price: Price) -> tuple[Decimal | None, ...]:
    """Return the amounts, rounded like the columns."""
    amounts = (price.input_usd_per_mtok, price.output_usd_per_mtok, price.cached_input_usd_per_mtok)
    return tuple(None if amount is None else round(amount, 6) for amount in amounts)

"""The form of a provider: the key is write-only, and the fields depend on the type."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.models import construct_instance
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget, UnfoldBooleanWidget

from llmhub.access.secrets import Secret
from llmhub.adminkit.times import time_ago
from providers.admin.setting_fields import initial_values, setting_fields, settings_errors, submitted_settings
from providers.backends import BACKENDS
from providers.key_places import origin_in
from providers.models import ProviderConfig
from providers.types import ProviderType

DEFAULT_URLS = {kind.value: backend.default_base_url for kind, backend in BACKENDS.items()}


def key_hints() -> SafeString:
    """Return hints on where to get keys, one per type; the page shows that of the selected type."""
    return format_html_join(
        "",
        """<span class="pv-hint" x-show="provider_type == '{}'">{} </span>""",
        ((kind.value, SafeString(backend.api_key_hint)) for kind, backend in BACKENDS.items()),
    )


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Never shows the stored key; an empty field keeps it."""

    api_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        max_length=4096,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    forget_api_key = forms.BooleanField(
        label="Delete the stored key",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Deletes the key when you save. The URL can then change without entering a key.",
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
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored_key: Secret | None = self.instance.api_key or None
        self.stored_key_fault = self.instance.stored_key_fault
        self._stored_settings = self.instance.settings
        self.initial.update(initial_values(self.instance.settings), api_key="")
        if "base_url" in self.fields:  # absent for users who may not change it
            self._describe_key()
            self.fields["base_url"].widget.attrs["x-bind:placeholder"] = f"({json.dumps(DEFAULT_URLS)})[provider_type]"
        if "default_model" in self.fields:  # absent for read-only users
            self.fields["default_model"].widget.attrs |= {"list": "models-found", "autocomplete": "off"}

    def _describe_key(self) -> None:
        field, stored = self.fields["api_key"], self.stored_key
        field.help_text = key_hints()
        if not stored:
            return
        if self.stored_key_fault:
            stored_text = format_html("<strong>The stored key {}.</strong> ", self.stored_key_fault)
        else:
            field.widget.attrs["placeholder"] = f"{stored.masked}: leave empty to keep it"
            stored_text = format_html(
                "Stored: <code>{}</code> for {}{}. "
                "Enter it again to use another type, scheme, host, port or extra headers. ",
                stored.masked,
                origin_in(self.instance.key_place) or "no valid address",
                self._key_age(),
            )
        field.help_text = stored_text + field.help_text

    def _key_age(self) -> SafeString:
        set_at = self.instance.api_key_set_at
        return format_html(", set {}", time_ago(set_at)) if set_at else SafeString("")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("api_key"):
            cleaned["api_key"] = "" if cleaned.get("forget_api_key") else self.stored_key or ""
        if kind := cleaned.get("provider_type"):
            self._clean_settings(ProviderType(kind), cleaned)
        return cleaned

    def _clean_settings(self, kind: ProviderType, cleaned: dict[str, Any]) -> None:
        settings = submitted_settings(kind, cleaned)
        faults = settings_errors(kind, settings)
        for name, message in faults.items():
            self.add_error(name, message)
        # Else the model would report the fault again, on a field that this form lacks.
        self.instance.settings = {} if faults else settings

    def _update_errors(self, errors: ValidationError) -> None:
        """Report errors of columns without a field as form errors: an operator's form lacks some fields."""
        by_field = errors.error_dict if hasattr(errors, "error_dict") else {}
        lacking = [name for name in by_field if name != NON_FIELD_ERRORS and name not in self.fields]
        for name in lacking:
            by_field.setdefault(NON_FIELD_ERRORS, []).extend(by_field.pop(name))
        if "api_key" in by_field and "api_key" in self.fields:
            self.fields["api_key"].widget.attrs.pop("placeholder", None)  # it says that the field may stay empty
        super()._update_errors(errors)  # type: ignore[misc]  # not in the stubs

    @property
    def changed_columns(self) -> list[str]:
        """The columns to save: probes write to the others concurrently."""
        names = {"api_key" if name == "forget_api_key" else name for name in self.changed_data}
        columns = [name for name in ProviderForm.Meta.fields if name in names]
        if self.instance.settings != self._stored_settings:
            columns.append("settings")
        return [*columns, "updated_at"]


ProviderForm.declared_fields |= setting_fields()


class PriorityForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A row of the list; invalid other fields do not block a change of priority."""

    class Meta:
        model = ProviderConfig
        fields = ("priority",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["priority"]
        field.show_hidden_initial = True  # keeps changes that another admin made since this page was opened
        field.widget = UnfoldAdminIntegerFieldWidget(
            attrs={"class": "pv-priority", "min": 0, "aria-label": f"Priority of {self.instance.name}"}
        )

    def _post_clean(self) -> None:
        construct_instance(self, self.instance, self.fields)

    @property
    def changed_columns(self) -> list[str]:
        return [*self.changed_data, "updated_at"]

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
)

from llmhub.access.granting import check_grant
from llmhub.access.models import ApiKey
from llmhub.access.offers import allows_nothing, get_offers, model_names
from llmhub.access.principals import Scope

ON_A_DATE, NEVER = "date", "never"
LIFETIMES = [
    ("30", "in 30 days"),
    ("90", "in 90 days"),
    ("365", "in 365 days"),
    (NEVER, "never"),
    (ON_A_DATE, "on a date…"),
]
STORED = ("name", "scopes", "allowed_providers", "allowed_models", "expires_at")
"""The fields of a key that may be changed."""


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    grantable: frozenset[str] = frozenset()
    """The scopes of the signed-in user."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.label} ({scope.value})") for scope in Scope],
        initial=[Scope.CHAT],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the key allows. You can grant only scopes that you have yourself.",
    )
    allowed_providers = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget(attrs={"data-placeholder": "All providers"}),
        help_text="None selected: all.",
    )
    allowed_models = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget(attrs={"data-placeholder": "All models"}),
        help_text="<code>ollama/llama3.2</code> of one provider, <code>llama3.2</code> of any. None selected: all.",
    )
    lifetime = forms.ChoiceField(
        label="Expires", choices=LIFETIMES, required=False, initial="90", widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = ApiKey
        fields = ("application", *STORED)

    class Media:
        js = ("access/key_form.js",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offers = get_offers()
        if "allowed_providers" in self.fields:
            self._set_choices("allowed_providers", list(self.offers))
            self._set_choices("allowed_models", model_names(self.offers))
        if "expires_at" in self.fields:
            self.fields["expires_at"].label = "Expires at"
            self.fields["expires_at"].help_text = "Date and time, in UTC."
        if "lifetime" in self.fields and self.instance.pk:
            self.initial["lifetime"] = ON_A_DATE if self.instance.expires_at else NEVER

    def clean_scopes(self) -> list[str]:
        scopes: list[str] = self.cleaned_data["scopes"]
        check_grant(set(scopes) - set(self.instance.scopes) - self.grantable)
        return scopes

    def _set_choices(self, name: str, offered: list[str]) -> None:
        """Offer the current names, and those stored before, marked if they match nothing now."""
        unmatched = [value for value in getattr(self.instance, name) if value not in offered]
        marked = [(value, f"{value} (no match)") for value in unmatched]
        field: Any = self.fields[name]
        field.choices = [*((value, value) for value in offered), *marked]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        lifetime = cleaned.get("lifetime") or ON_A_DATE
        if lifetime != ON_A_DATE:
            self.errors.pop("expires_at", None)
            cleaned["expires_at"] = None if lifetime == NEVER else timezone.now() + timedelta(days=int(lifetime))
        elif "expires_at" in cleaned:
            self._check_expiry(cleaned["expires_at"], is_required=bool(cleaned.get("lifetime")))
        if {"allowed_providers", "allowed_models"} & set(self.changed_data):
            self._check_allowed(cleaned.get("allowed_providers", []), cleaned.get("allowed_models", []))
        return cleaned

    def _check_allowed(self, providers: list[str], models: list[str]) -> None:
        if models and allows_nothing(providers, models, self.offers):
            self.add_error("allowed_models", "Nothing on offer matches: every chat with the key would be refused.")

    def _check_expiry(self, expires_at: datetime | None, *, is_required: bool) -> None:
        if expires_at is None:
            if is_required:
                self.add_error("expires_at", "Enter a date and time, or choose another expiry.")
        elif "expires_at" in self.changed_data and expires_at <= timezone.now():
            self.add_error("expires_at", "This is in the past. To end a key now, revoke it.")

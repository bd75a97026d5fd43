from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from llmhub.access.managing import refuse_to_give
from llmhub.access.models import ApiKey
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
"""What of a key may be changed."""


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    grantable: frozenset[str] = frozenset()
    """The scopes that whoever fills in the form has."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.label} ({scope.value})") for scope in Scope],
        initial=[Scope.CHAT],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the key may be used for. Nobody can give a scope that they do not have themselves.",
    )
    lifetime = forms.ChoiceField(
        label="Expires", choices=LIFETIMES, required=False, initial="90", widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = ApiKey
        fields = ("application", *STORED)
        widgets = {
            "allowed_providers": UnfoldAdminTextInputWidget(attrs={"placeholder": "every provider"}),
            "allowed_models": UnfoldAdminTextInputWidget(attrs={"placeholder": "every model"}),
        }

    class Media:
        js = ("access/key_form.js",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "allowed_providers" in self.fields:
            self.fields["allowed_providers"].help_text = "Names of providers, with commas between; empty allows all."
            self.fields["allowed_models"].help_text = (
                "With commas between, <code>llama3.2</code> of any provider or <code>ollama/llama3.2</code> of one; "
                "empty allows all."
            )
        if "expires_at" in self.fields:
            self.fields["expires_at"].label = "Last moment"
            self.fields["expires_at"].help_text = "Date and time of day, in UTC."
        if "lifetime" in self.fields and self.instance.pk:
            self.initial["lifetime"] = ON_A_DATE if self.instance.expires_at else NEVER

    def clean_scopes(self) -> list[str]:
        scopes: list[str] = self.cleaned_data["scopes"]
        refuse_to_give(set(scopes) - set(self.instance.scopes) - self.grantable)
        return scopes

    def clean_allowed_providers(self) -> list[str]:
        names = list(dict.fromkeys(self.cleaned_data["allowed_providers"]))
        for name in names:
            try:
                validate_slug(name)
            except ValidationError:
                raise ValidationError(
                    f"“{name}” cannot be the name of a provider: it takes letters, digits, - and _."
                ) from None
        return names

    def clean_allowed_models(self) -> list[str]:
        names = list(dict.fromkeys(self.cleaned_data["allowed_models"]))
        if spaced := [name for name in names if " " in name]:
            raise ValidationError(f"“{spaced[0]}” has a space in it; put commas between the names of models.")
        return names

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        lifetime = cleaned.get("lifetime") or ON_A_DATE
        if lifetime != ON_A_DATE:
            self.errors.pop("expires_at", None)
            cleaned["expires_at"] = None if lifetime == NEVER else timezone.now() + timedelta(days=int(lifetime))
        elif "expires_at" in cleaned:
            self._check_end(cleaned["expires_at"], is_asked_for=bool(cleaned.get("lifetime")))
        return cleaned

    def _check_end(self, expires_at: datetime | None, *, is_asked_for: bool) -> None:
        if expires_at is None:
            if is_asked_for:
                self.add_error("expires_at", "Name the date and the time, or choose another end.")
        elif "expires_at" in self.changed_data and expires_at <= timezone.now():
            self.add_error("expires_at", "This has passed already. To end a key now, revoke it.")

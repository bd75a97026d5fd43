"""The playground's form. A script sends the chat; the form is never submitted to Django."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from llmhub.access.models import ApiKey
from providers.models import Health, ProviderConfig

MODEL_HELP = "Empty: each provider's own default model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The providers and keys to choose from. Shape: `keys` is None without permission to view them."""

    providers: Iterable[ProviderConfig]
    keys: Iterable[ApiKey] | None


def _text_area(rows: int) -> UnfoldAdminTextareaWidget:
    return UnfoldAdminTextareaWidget({"rows": rows})


def _number(**attrs: str) -> UnfoldAdminIntegerFieldWidget:
    return UnfoldAdminIntegerFieldWidget({"step": "any", **attrs})


def _model_field(label: str, *, datalist: str) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget({"list": datalist, "autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(label=label, required=False, help_text=MODEL_HELP, widget=widget)


class PlaygroundForm(forms.Form):
    as_key = forms.ChoiceField(
        label="Send as",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Uses the rights of an application's key; recorded under your name.",
    )
    provider = forms.ChoiceField(label="Provider", required=False, widget=UnfoldAdminSelectWidget())
    model = _model_field("Model", datalist="playground-models")
    compare = forms.BooleanField(
        label="Compare with a second model", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    second_provider = forms.ChoiceField(label="Second provider", required=False, widget=UnfoldAdminSelectWidget())
    second_model = _model_field("Second model", datalist="playground-second-models")
    system = forms.CharField(label="System prompt", required=False, widget=_text_area(3))
    temperature = forms.FloatField(label="Temperature", required=False, widget=_number(min="0", max="2"))
    max_tokens = forms.IntegerField(label="Max tokens", required=False, widget=_number(min="1", step="1"))
    top_p = forms.FloatField(label="Top p", required=False, widget=_number(min="0", max="1"))
    stop = forms.CharField(
        label="Stop sequences",
        required=False,
        widget=_text_area(2),
        help_text="Texts that end the answer, one per line.",
    )
    message = forms.CharField(label="Message", widget=_text_area(4))

    def __init__(self, choices: Choices, *, initial: Mapping[str, str]) -> None:
        super().__init__(initial=dict(initial), auto_id="playground-%s", label_suffix="", use_required_attribute=False)
        names = _provider_choices(choices.providers, requested=initial.get("provider", ""))
        for name in ("provider", "second_provider"):
            self.fields[name].choices = names  # type: ignore[attr-defined]  # a ChoiceField
        if choices.keys is None:
            del self.fields["as_key"]
        else:
            self.fields["as_key"].choices = _key_choices(choices.keys)  # type: ignore[attr-defined]  # a ChoiceField

    def parameters(self) -> list[forms.BoundField]:
        return [self[name] for name in ("temperature", "top_p", "max_tokens", "stop")]


def _provider_choices(providers: Iterable[ProviderConfig], *, requested: str) -> list[tuple[str, str]]:
    """Return the providers as choices, plus a requested one that does not exist, marked as such."""
    labels = {row.name: _provider_label(row) for row in providers}
    if requested and requested not in labels:
        labels[requested] = f"{requested} (does not exist)"
    return [("", "Any, in the order of failover"), *labels.items()]


def _provider_label(row: ProviderConfig) -> str:
    notes = [
        note
        for note, applies in (
            ("default", row.is_default),
            ("disabled", not row.enabled),
            ("unhealthy", row.health == Health.UNHEALTHY),
        )
        if applies
    ]
    return f"{row.name} ({', '.join(notes)})" if notes else row.name


def _key_choices(keys: Iterable[ApiKey]) -> list[tuple[str, object]]:
    choices = [(str(key.pk), str(key)) for key in keys]
    return [("", "Myself"), *([("Application keys", choices)] if choices else [])]

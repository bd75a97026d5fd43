"""What can be asked in the playground, as fields. The browser sends them; no field is submitted to Django."""

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
    """Whom and as whom one can ask. Shape: `keys` None for who may not see any."""

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
        label="Ask as",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Routed as for the key of an application; recorded under your name all the same.",
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
        label="Stop at", required=False, widget=_text_area(2), help_text="Texts that end the answer, one a line."
    )
    message = forms.CharField(label="Message", widget=_text_area(4))

    def __init__(self, choices: Choices, *, initial: Mapping[str, str]) -> None:
        super().__init__(initial=dict(initial), auto_id="playground-%s", label_suffix="", use_required_attribute=False)
        names = _provider_choices(choices.providers, also=initial.get("provider", ""))
        for name in ("provider", "second_provider"):
            self.fields[name].choices = names  # type: ignore[attr-defined]  # a ChoiceField
        if choices.keys is None:
            del self.fields["as_key"]
        else:
            self.fields["as_key"].choices = _key_choices(choices.keys)  # type: ignore[attr-defined]  # a ChoiceField

    def parameters(self) -> list[forms.BoundField]:
        return [self[name] for name in ("temperature", "top_p", "max_tokens", "stop")]


def _provider_choices(providers: Iterable[ProviderConfig], *, also: str) -> list[tuple[str, str]]:
    """Every provider by its name; one that was asked for and is none stays there to be told so."""
    found = {row.name: _provider_label(row) for row in providers}
    if also and also not in found:
        found[also] = f"{also} (there is none of this name)"
    return [("", "Any, in the order of failover"), *found.items()]


def _provider_label(row: ProviderConfig) -> str:
    notes = [
        note
        for note, holds in (
            ("default", row.is_default),
            ("disabled", not row.enabled),
            ("unhealthy", row.health == Health.UNHEALTHY),
        )
        if holds
    ]
    return f"{row.name} ({', '.join(notes)})" if notes else row.name


def _key_choices(keys: Iterable[ApiKey]) -> list[tuple[str, object]]:
    named = [(str(key.pk), str(key)) for key in keys]
    return [("", "Myself"), *([("An application", named)] if named else [])]

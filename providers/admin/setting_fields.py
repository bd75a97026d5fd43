"""The settings of every provider type as fields of a form, made of the backends' own settings models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString
from pydantic import ValidationError as SettingsError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from providers.backends import BACKENDS
from providers.models import settings_words
from providers.types import ProviderType

PREFIX = "setting_"
TRUTHS = {"True": True, "False": False}
TRUTH_WORDS = {"True": "Yes", "False": "No"}

Schema = Mapping[str, Any]


def setting_fields() -> dict[str, forms.Field]:
    """Return the fields of all types by their names in the form; types that share a setting share its field."""
    return {f"{PREFIX}{name}": _form_field(name, schema) for name, schema in _schemas().items()}


def shown_for() -> dict[str, str]:
    """Return, by field, the condition on `provider_type` under which it is shown."""
    return {
        f"{PREFIX}{name}": f"{json.dumps([kind for kind in ProviderType if name in _names(kind)])}"
        ".includes(provider_type)".replace('"', "'")
        for name in _schemas()
    }


def initial_values(stored: Any) -> dict[str, Any]:
    """Return what the fields show of a provider's settings."""
    known = stored if isinstance(stored, dict) else {}
    return {f"{PREFIX}{name}": known[name] for name in _schemas() if name in known}


def settings_of(kind: ProviderType, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were filled in, of those this type has; what is left empty is left to the type."""
    fields = BACKENDS[kind].settings_model.model_fields
    values = {name: cleaned.get(f"{PREFIX}{name}") for name in fields}
    empty: tuple[Any, ...] = (None, "", {})
    return {name: value for name, value in values.items() if value not in (*empty, fields[name].default)}


def faults_of(kind: ProviderType, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with settings, by field of the form."""
    try:
        BACKENDS[kind].settings_model.model_validate(settings)
    except SettingsError as error:
        return {f"{PREFIX}{fault['loc'][0]}": settings_words(fault) for fault in error.errors(include_input=False)}
    return {}


def _names(kind: ProviderType) -> list[str]:
    return list(BACKENDS[kind].settings_model.model_fields)


def _schemas() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for backend in BACKENDS.values():
        found |= backend.settings_model.model_json_schema().get("properties", {})
    return found


def _form_field(name: str, schema: Schema) -> forms.Field:
    alternatives = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    kinds = {part.get("type") for part in alternatives}
    words = [word for part in alternatives for word in part.get("enum", ())]
    common: dict[str, Any] = {
        "label": _label(name, schema),
        "required": False,
        "help_text": _help(schema),
    }
    if words:
        choices = [("", "Left to the server"), *TRUTH_WORDS.items(), *((word, word) for word in words)]
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda word: TRUTHS.get(word, word),
            empty_value=None,
            widget=UnfoldAdminSelectWidget,
            **common,
        )
    if kinds == {"boolean"}:
        return forms.BooleanField(widget=UnfoldBooleanWidget, **common)
    if kinds == {"integer"}:
        return forms.IntegerField(min_value=1, widget=UnfoldAdminIntegerFieldWidget, **common)
    if kinds == {"object"}:
        return forms.JSONField(initial=dict, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **common)
    return forms.CharField(widget=UnfoldAdminTextInputWidget, **common)


def _label(name: str, schema: Schema) -> str:
    """Return its title, and beside it the name that the API and the provider's documentation know it by."""
    title = schema["title"].capitalize() if schema["title"].istitle() else schema["title"]
    return title if title.lower() == name.replace("_", " ") else f"{title} ({name})"


def _help(schema: Schema) -> SafeString:
    default, examples = schema.get("default"), schema.get("examples", ())
    parts = [format_html("{}", schema.get("description", ""))]
    parts += [format_html(" E.g. <code>{}</code>.", _text(example)) for example in examples[:1]]
    parts += [format_html(" Empty: {}.", default)] if default and default is not True else []
    return SafeString("".join(parts))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

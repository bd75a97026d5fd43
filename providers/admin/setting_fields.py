"""Form fields for the settings of every provider type, derived from the backends' settings models."""

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
from providers.models import setting_error_text
from providers.types import ProviderType

PREFIX = "setting_"
BOOLEAN_VALUES = {"True": True, "False": False}
BOOLEAN_LABELS = {"True": "Yes", "False": "No"}

Schema = Mapping[str, Any]


def setting_fields() -> dict[str, forms.Field]:
    """Return the form fields of all types by name; types with the same setting share its field."""
    return {f"{PREFIX}{name}": _form_field(name, schema) for name, schema in _schemas().items()}


def visibility_conditions() -> dict[str, str]:
    """Return, by field, the script condition on `provider_type` that shows it."""
    conditions = {}
    for name in _schemas():
        types = [kind for kind in ProviderType if name in BACKENDS[kind].settings_model.model_fields]
        conditions[f"{PREFIX}{name}"] = f"{json.dumps(types)}.includes(provider_type)".replace('"', "'")
    return conditions


def initial_values(stored: Any) -> dict[str, Any]:
    """Return the initial values of the fields for stored settings."""
    settings = stored if isinstance(stored, dict) else {}
    return {f"{PREFIX}{name}": settings[name] for name in _schemas() if name in settings}


def submitted_settings(kind: ProviderType, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the submitted settings of this type; empty fields use the type's defaults."""
    fields = BACKENDS[kind].settings_model.model_fields
    values = {name: cleaned.get(f"{PREFIX}{name}") for name in fields}
    empty: tuple[Any, ...] = (None, "", {})
    return {name: value for name, value in values.items() if value not in (*empty, fields[name].default)}


def settings_errors(kind: ProviderType, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the errors of settings, by form field."""
    try:
        BACKENDS[kind].settings_model.model_validate(settings)
    except SettingsError as error:
        return {f"{PREFIX}{fault['loc'][0]}": setting_error_text(fault) for fault in error.errors(include_input=False)}
    return {}


def _schemas() -> dict[str, Schema]:
    schemas: dict[str, Schema] = {}
    for backend in BACKENDS.values():
        schemas |= backend.settings_model.model_json_schema().get("properties", {})
    return schemas


def _form_field(name: str, schema: Schema) -> forms.Field:
    alternatives = [alternative for alternative in schema.get("anyOf", [schema]) if alternative.get("type") != "null"]
    kinds = {alternative.get("type") for alternative in alternatives}
    values = [value for alternative in alternatives for value in alternative.get("enum", ())]
    common: dict[str, Any] = {
        "label": _label(name, schema),
        "required": False,
        "help_text": _help(schema),
    }
    if values:
        choices = [("", "Server default"), *BOOLEAN_LABELS.items(), *((value, value) for value in values)]
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda value: BOOLEAN_VALUES.get(value, value),
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
    """Return the title, with the name used by the API and the provider's documentation."""
    title = schema["title"].capitalize() if schema["title"].istitle() else schema["title"]
    return title if title.lower() == name.replace("_", " ") else f"{title} ({name})"


def _help(schema: Schema) -> SafeString:
    default, examples = schema.get("default"), schema.get("examples", ())
    sentences = [format_html("{}", schema.get("description", ""))]
    sentences += [
        format_html(" E.g. <code>{}</code>.", example if isinstance(example, str) else json.dumps(example))
        for example in examples[:1]
    ]
    sentences += [format_html(" Empty: {}.", default)] if default and default is not True else []
    return SafeString("".join(sentences))

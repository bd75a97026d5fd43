"""Initial values of a new form, taken from the URL."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.forms import Field
from django.http import HttpRequest


class CheckedInitialValues:
    """A ModelAdmin mixin that drops values which the form's fields cannot hold."""

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)  # type: ignore[misc]  # of the admin that this is mixed into
        fields = self.get_form(request).base_fields  # type: ignore[attr-defined]  # likewise
        return {name: value for name, value in initial.items() if name in fields and _can_hold(fields[name], value)}


def _can_hold(field: Field, value: Any) -> bool:
    try:
        field.clean(value)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False
    return True

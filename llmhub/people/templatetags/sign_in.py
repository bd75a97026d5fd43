"""What the pages outside the admin's own layout need: the theme's colours, and inputs that say what is wrong."""

from __future__ import annotations

from typing import Any

from django import template
from django.forms import BoundField
from django.utils.safestring import SafeString
from unfold.settings import get_config
from unfold.utils import convert_color

register = template.Library()


@register.simple_tag
def theme_colors() -> str:
    """Return the theme's colours as CSS custom properties, as unfold's own layout defines them."""
    return "".join(
        f"--color-{name}-{weight}:{convert_color(value)};"
        for name, weights in get_config("UNFOLD")["COLORS"].items()
        for weight, value in weights.items()
    )


@register.simple_tag
def input_of(field: BoundField, **attrs: Any) -> SafeString:
    """Render a field's input, with these attributes and without a placeholder that only repeats its label."""
    named = {name.replace("_", "-"): value for name, value in attrs.items()}
    return field.as_widget(attrs={"placeholder": False, **named})

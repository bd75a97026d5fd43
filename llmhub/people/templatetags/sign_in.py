"""Template tags for pages outside the admin's layout: theme colours and form inputs."""

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
    """Render a field's input with these attributes, without a placeholder that repeats its label."""
    html_attrs = {name.replace("_", "-"): value for name, value in attrs.items()}
    return field.as_widget(attrs={"placeholder": False, **html_attrs})

"""The theme's badges, for use outside its own columns."""

from __future__ import annotations

from functools import cache
from typing import Literal

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

Colour = Literal["info", "success", "warning", "danger"]


@cache
def badge(text: str, colour: Colour) -> SafeString:
    """Render a badge. Every distinct text is cached, so pass only few."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour})

"""Text that others wrote, made harmless to look at: what would steer a reader's screen is shown as a mark."""

from __future__ import annotations

import re
import unicodedata

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# Controls but tab and line feed, what orders or hides text (directions, zero widths, tags), and separators of lines.
# Joiners stay: scripts and emoji are written with them.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def inert(text: object) -> SafeString:
    """Return text as HTML: its markup escaped, and what would steer the screen marked."""
    lines = str(text).replace("\r\n", "\n")
    return mark_safe(_STEERING.sub(_mark, escape(lines)))  # noqa: S308 (escaped, then only marks are added)


def is_plain(text: str) -> bool:
    """Whether nothing in a text would be marked, so that it can stand where marks cannot."""
    return not _STEERING.search(text)


def _mark(match: re.Match[str]) -> str:
    character = match[0]
    name = unicodedata.name(character, "CONTROL CHARACTER")
    code = f"U+{ord(character):04X}"
    return f'<span class="chat-mark" title="{code} {name}">[{code}]</span>'

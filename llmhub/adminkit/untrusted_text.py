"""Escape untrusted text for HTML: control and bidirectional characters are shown as marks."""

from __future__ import annotations

import re
import unicodedata

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# Controls except tab and line feed, characters that reorder or hide text (bidi, zero width, tags), line separators.
# Joiners stay: scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def escape_untrusted(text: object) -> SafeString:
    """Return text as HTML, with markup escaped and unsafe characters marked."""
    lines = str(text).replace("\r\n", "\n")
    return mark_safe(_UNSAFE.sub(_mark, escape(lines)))  # noqa: S308 (escaped, then only marks are added)


def is_plain(text: str) -> bool:
    """Whether a text has no unsafe characters: it may then be shown where marks cannot."""
    return not _UNSAFE.search(text)


def _mark(match: re.Match[str]) -> str:
    character = match[0]
    name = unicodedata.name(character, "CONTROL CHARACTER")
    code = f"U+{ord(character):04X}"
    return f'<span class="chat-mark" title="{code} {name}">[{code}]</span>'

from __future__ import annotations

import re
import sys
import unicodedata

import pytest

from llmhub.adminkit.untrusted_text import escape_untrusted

# Visible signs of Arabic, Syriac and Kaithi, and the joiners that scripts and emoji are written with.
WRITTEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, 0x200C, 0x200D}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("<script>&\"'", "&lt;script&gt;&amp;&quot;&#x27;", id="markup"),
        pytest.param("two\nlines\tand a tab", "two\nlines\tand a tab", id="layout"),
        pytest.param("line\r\nline", "line\nline", id="windows-lines"),
        pytest.param("Größe 👩‍👩‍👧 می‌خواهم", "Größe 👩‍👩‍👧 می‌خواهم", id="scripts"),
    ],
)
def test_text_is_shown_as_text(text, shown):
    assert escape_untrusted(text) == shown


@pytest.mark.parametrize(
    ("text", "sign", "name"),
    [
        pytest.param("\x1b[31m", "[U+001B]", "U+001B CONTROL CHARACTER", id="ansi"),
        pytest.param("\r", "[U+000D]", "U+000D CONTROL CHARACTER", id="carriage-return"),
        pytest.param("\x7f", "[U+007F]", "U+007F CONTROL CHARACTER", id="delete"),
        pytest.param("\x9b", "[U+009B]", "U+009B CONTROL CHARACTER", id="c1"),
        pytest.param("\u202e", "[U+202E]", "U+202E RIGHT-TO-LEFT OVERRIDE", id="bidi-override"),
        pytest.param("\u2066", "[U+2066]", "U+2066 LEFT-TO-RIGHT ISOLATE", id="bidi-isolate"),
        pytest.param("\u200b", "[U+200B]", "U+200B ZERO WIDTH SPACE", id="zero-width"),
        pytest.param("\U000e0041", "[U+E0041]", "U+E0041 TAG LATIN CAPITAL LETTER A", id="tag"),
        pytest.param("\u2028", "[U+2028]", "U+2028 LINE SEPARATOR", id="line-separator"),
    ],
)
def test_what_steers_the_screen_is_marked(text, sign, name):
    shown = escape_untrusted(f"a{text}b")

    assert shown.startswith(f'a<span class="chat-mark" title="{name}">{sign}</span>')
    assert text[0] not in shown


def test_every_control_and_format_character_is_marked():
    steering = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp"} and code not in {*WRITTEN, 0x09, 0x0A}
    ]

    assert [character for character in steering if not re.search("chat-mark", escape_untrusted(character))] == []

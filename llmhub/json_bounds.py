"""How many items a JSON text has, told before it is parsed: a few megabytes of `{}` would take gigabytes as objects."""

from __future__ import annotations

import re
from itertools import islice

MAX_JSON_ITEMS = 1_000_000

_MARKS = re.compile(rb'"[^"]*+"|[,{\[]')
_STEP_ITEMS = 10_000
"""So many are counted before another thread may have its turn."""


def has_too_many_items(text: bytes, *, max_items: int = MAX_JSON_ITEMS) -> bool:
    """Tell whether a JSON text has more strings, objects, lists and commas than `max_items`.

    Linear, and done as soon as there are too many. What stands inside a string does not count.
    """
    if len(text) <= max_items or sum(map(text.count, (b'"', b",", b"{", b"["))) <= max_items:
        return False
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    marks = _MARKS.finditer(unescaped)
    counted = 0
    while counted <= max_items:
        step = sum(1 for _ in islice(marks, _STEP_ITEMS))
        if not step:
            return False
        counted += step
    return True

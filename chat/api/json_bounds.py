"""How much a JSON body may hold, found out before it is parsed: a small text can become very many objects."""

from __future__ import annotations

import re

from chat.api.reading import BadRequestError

LARGE_BYTES = 256 * 1024
MANY_ITEMS = 4096
"""What is larger, or holds more, is understood beside the event loop."""

MAX_ITEMS = 250_000
"""How many values a body may have; a value takes up to a hundred times the memory of its text."""

MAX_DEPTH = 128
"""How deeply they may be nested."""

_FEW_BYTES = 16 * 1024
_STEP_BYTES = 1024 * 1024

# A string, one that does not end too, is taken in one step that is never tried another way.
_STRING_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING, _COMMA, _QUOTE = b"[{", b"]}", ord(","), ord('"')


def is_large(body: bytes) -> bool:
    """Whether it takes long to understand a body."""
    size_bytes = len(body)
    return size_bytes > LARGE_BYTES or (size_bytes > _FEW_BYTES and count_at_most(body, MANY_ITEMS) > MANY_ITEMS)


def check_bounds(body: bytes) -> None:
    """Errors: BadRequestError; what is no JSON may pass, or be refused for either."""
    openings = _count(body, b"[", b"{", most=MAX_DEPTH)
    if openings > MAX_DEPTH or count_at_most(body, MAX_ITEMS) > MAX_ITEMS:
        _look_closer(body)


def count_at_most(body: bytes, most: int) -> int:
    """Return a number of values that the body does not exceed, or one above `most` when that may be so."""
    return 1 + _count(body, b",", b"[", b"{", most=most)


def _count(body: bytes, *marks: bytes, most: int) -> int:
    """Count marks, those in texts too, until there are more than is of interest."""
    found = 0
    for start in range(0, len(body), _STEP_BYTES):
        found += sum([body.count(mark, start, start + _STEP_BYTES) for mark in marks])
        if found > most:
            break
    return found


def _look_closer(body: bytes) -> None:
    """Count what stands outside of strings, and how deeply."""
    items, strings, depth = 1, 0, 0
    for match in _STRING_OR_MARK.finditer(body):
        mark = body[match.start()]
        if mark == _QUOTE:
            strings += 1
        elif mark == _COMMA:
            items += 1
        elif mark in _OPENING:
            items += 1
            depth += 1
            if depth > MAX_DEPTH:
                raise BadRequestError(f"The body is nested more than {MAX_DEPTH} deep.", code="json_too_deep")
        else:
            depth -= 1
        if items > MAX_ITEMS or strings > 2 * MAX_ITEMS:
            raise BadRequestError(f"The body holds more than {MAX_ITEMS} values.", code="too_many_json_values")

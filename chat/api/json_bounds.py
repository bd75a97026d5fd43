"""How much a JSON body may hold, found out before it is parsed: a small text can become very many objects."""

from __future__ import annotations

import re

from chat.api.reading import BadRequestError

LARGE_BYTES = 256 * 1024
MANY_ITEMS = 4096
"""What is larger, or holds more, is understood beside the event loop."""

HUGE_BYTES = 4 * 1024 * 1024
"""What is larger waits for others of its size only."""

MAX_ITEMS = 250_000
"""How many values a body may have; a value takes up to a hundred times the memory of its text."""

MAX_DEPTH = 128
"""How deeply they may be nested."""

ITEM_BYTES = 128
_LEADS_OF_FOUR = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_SURROGATES = (rb"\ud", rb"\uD")
_FEW_BYTES = 16 * 1024
_STEP_BYTES = 1024 * 1024

_MARK = re.compile(rb'["\[\]{},]')
# A piece of a string, small enough that no other thread waits long for this one.
_PIECE = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,256}+', re.DOTALL)
_OPENING, _COMMA, _QUOTE = b"[{", ord(","), ord('"')


def is_large(body: bytes) -> bool:
    """Whether it takes long to understand a body."""
    size_bytes = len(body)
    return size_bytes > LARGE_BYTES or (size_bytes > _FEW_BYTES and sum(_count_marks(body, MANY_ITEMS)) > MANY_ITEMS)


def weigh(body: bytes) -> int:
    """Return how much more memory than most a body of its size takes, once it is parsed.

    One character beyond Latin makes each of a text's take two bytes, one beyond the basic plane four.
    Errors: BadRequestError for a body beyond the bounds; what is no JSON may pass.
    """
    commas, openings = _count_marks(body, MAX_ITEMS)
    if openings > MAX_DEPTH or commas + openings >= MAX_ITEMS:
        _look_closer(body)
    for_items = ITEM_BYTES * min(commas + openings, MAX_ITEMS) - 2 * len(body)
    return _width(body) * len(body) + max(0, for_items)


def _width(body: bytes) -> int:
    """Return how many bytes more than its own each byte of a text may take."""
    if any(lead in body for lead in _LEADS_OF_FOUR):
        return 5
    has_escapes = b"\\" in body
    if has_escapes and any(escape in body for escape in _SURROGATES):
        return 5
    return 2 if not body.isascii() or (has_escapes and rb"\u" in body) else 0


def _count_marks(body: bytes, most: int) -> tuple[int, int]:
    """Count commas and opening brackets, those in texts too, until there are more than is of interest.

    One more than both is at least the number of values.
    """
    commas = openings = 0
    for start in range(0, len(body), _STEP_BYTES):
        end = start + _STEP_BYTES
        commas += body.count(b",", start, end)
        openings += body.count(b"[", start, end) + body.count(b"{", start, end)
        if commas + openings > most:
            break
    return commas, openings


def _look_closer(body: bytes) -> None:
    """Count what stands outside of strings, and how deeply."""
    items, strings, depth, at = 1, 0, 0, 0
    while found := _MARK.search(body, at):
        at = found.end()
        mark = body[at - 1]
        if mark == _QUOTE:
            strings += 1
            at = _end_of_string(body, at)
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


def _end_of_string(body: bytes, at: int) -> int:
    while piece := _PIECE.match(body, at):
        at = piece.end()
    return at + 1

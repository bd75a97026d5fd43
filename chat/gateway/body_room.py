"""How much the body of a chat may hold, and how much room it takes once it is parsed."""

from __future__ import annotations

from llmhub.http.json_bounds import Excess, find_excess, glance
from llmhub.runtime.large_work import LARGE_BYTES
from providers.wire.validation import BadRequestError

MANY_VALUES = 4096
"""What is large, or holds more, is understood beside the event loop."""

MAX_VALUES = 250_000
"""How many values a body may have; a value takes up to a hundred times the memory of its text."""

MAX_DEPTH = 128
"""How deeply they may be nested."""

VALUE_BYTES = 128
_LEADS_OF_FOUR = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_SURROGATES = (rb"\ud", rb"\uD")
_FEW_BYTES = 16 * 1024


def is_large(body: bytes) -> bool:
    """Whether it takes long to understand a body."""
    size_bytes = len(body)
    return size_bytes > LARGE_BYTES or (size_bytes > _FEW_BYTES and glance(body)[0] > MANY_VALUES)


def check_bounds(body: bytes) -> None:
    """Errors: BadRequestError; what is no JSON may pass, or be refused for either."""
    excess = find_excess(body, max_values=MAX_VALUES, max_depth=MAX_DEPTH)
    if excess is Excess.DEPTH:
        raise BadRequestError(f"The body is nested more than {MAX_DEPTH} deep.", code="json_too_deep")
    if excess is Excess.VALUES:
        raise BadRequestError(f"The body holds more than {MAX_VALUES} values.", code="too_many_json_values")


def room_beyond(body: bytes) -> int:
    """Return how much more memory than most a body of its size takes, once it is parsed."""
    for_values = VALUE_BYTES * min(glance(body)[0], MAX_VALUES) - 2 * len(body)
    return _width(body) * len(body) + max(0, for_values)


def _width(body: bytes) -> int:
    """Return how many bytes more than its own each byte of a text may take.

    One character beyond Latin makes each of a text's take two bytes, one beyond the basic plane four.
    """
    if any(lead in body for lead in _LEADS_OF_FOUR):
        return 5
    has_escapes = b"\\" in body and rb"\u" in body
    if has_escapes and any(escape in body for escape in _SURROGATES):
        return 5
    return 2 if has_escapes or not body.isascii() else 0

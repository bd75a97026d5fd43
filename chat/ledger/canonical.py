"""Canonical JSON, and text that PostgreSQL can store."""

from __future__ import annotations

from typing import Any

import orjson

_SCALARS = frozenset({str, int, bool, type(None)})
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_json(value: Any) -> str:
    """Return RFC 8785 JSON.

    Shape: objects with ASCII keys, arrays, strings, booleans, null, and integers below 2^53.
    Errors: TypeError for any other value, floats included (pass them as strings); ValueError for invalid Unicode.
    """
    _check(value)
    try:
        return orjson.dumps(value, option=_OPTIONS).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def _check(value: Any) -> None:
    pending = [value]
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind is dict:
            if not "".join(value).isascii():  # a TypeError by itself, where a key is no string
                raise TypeError("A key of canonical JSON is an ASCII string.")
            pending += value.values()
        elif kind is list:
            pending += value
        elif kind not in _SCALARS:
            raise TypeError(f"Canonical JSON has no {kind.__name__}.")


def storable_text(text: str, *, max_chars: int | None = None) -> str:
    r"""Return `text` truncated, with U+0000 and lone surrogates, which PostgreSQL cannot store, as `\uXXXX`."""
    if "\x00" in text:
        text = text.replace("\x00", "\\u0000")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if max_chars is None else text[:max_chars]

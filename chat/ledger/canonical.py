"""Texts that mean the same bytes to everyone."""

from __future__ import annotations

from typing import Any

import orjson

_SCALARS = frozenset({str, int, bool, type(None)})
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_json(value: Any) -> str:
    """Return RFC 8785 JSON.

    Shape: objects with ASCII keys, arrays, strings, booleans, null, and integers below 2^53.
    Errors: TypeError for anything else, floats too (give them as strings); ValueError for text that is not Unicode.
    """
    _check(value)
    try:
        return orjson.dumps(value, option=_OPTIONS).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def _check(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise TypeError("A key of canonical JSON is an ASCII string.")
            if type(item) not in _SCALARS:
                _check(item)
    elif kind is list:
        for item in value:
            _check(item)
    elif kind not in _SCALARS:
        raise TypeError(f"Canonical JSON has no {kind.__name__}.")


def storable_text(text: str, *, max_chars: int | None = None) -> str:
    r"""Return `text` with what PostgreSQL cannot store, U+0000 and lone surrogates, written as `\uXXXX`, and cut."""
    if "\x00" in text:
        text = text.replace("\x00", "\\u0000")
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if max_chars is None else text[:max_chars]

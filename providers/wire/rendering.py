"""JSON and server-sent events as every client can read them."""

from __future__ import annotations

import json
from typing import Any

import orjson

_LINE_ENDS = (("\u2028", rb"\u2028"), ("\u2029", rb"\u2029"), ("\u0085", rb"\u0085"))
_ESCAPES = tuple((character.encode(), escape) for character, escape in _LINE_ENDS)


def dump_json(value: Any) -> bytes:
    """Return JSON on one line, whatever a client takes for a line's end."""
    data = orjson.dumps(value)
    if data.isascii():
        return data
    for raw, escape in _ESCAPES:
        if raw in data:
            data = data.replace(raw, escape)
    return data


def compact_json(value: Any) -> str:
    """Return JSON text of what a provider sent, which may hold half a character, or numbers beyond 64 bits."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def event_frame(value: Any, *, event: str | None = None) -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + dump_json(value) + b"\n\n"


PING = b": ping\n\n"

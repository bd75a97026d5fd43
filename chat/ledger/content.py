"""What was asked and answered, in the form in which it is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from chat.ledger.canonical import storable_text
from providers.types import Attempt

MAX_STORED_BYTES = 32 * 1024 * 1024
SALT_BYTES = 32

_FILE_KEYS = frozenset({"url", "image_url", "file_url", "file_data"})
_FILE_MARKERS = (b"base64,", b'"input_audio"', b'"file_data"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A body as it is stored, and what the ledger says of it.

    Shape: `commitment` is the HMAC-SHA256 of the stored body under its salt, in hex; of a body that was not read
    there is neither.
    Units: `size_bytes` is the size of the body as it came.
    """

    body: str | None = field(repr=False)
    salt: bytes | None = field(repr=False)
    commitment: str | None
    size_bytes: int


def unread_content(size_bytes: int) -> Content:
    """Return what is known of a body that nobody read: its size, as far as it was told."""
    return Content(body=None, salt=None, commitment=None, size_bytes=size_bytes)


def make_content(raw: bytes, *, max_bytes: int = MAX_STORED_BYTES) -> Content:
    """Return what is kept of a body: its files described instead of stored, and no more than `max_bytes` of it."""
    stored, body = _storable(redact_files(raw))
    if len(stored) > max_bytes:
        body = stored[:max_bytes].decode("utf-8", "ignore")
        stored = body.encode()
    salt = os.urandom(SALT_BYTES)
    commitment = hmac.digest(salt, stored, "sha256").hex()
    return Content(body=body, salt=salt, commitment=commitment, size_bytes=len(raw))


def _storable(data: bytes) -> tuple[bytes, str]:
    """Return bytes as PostgreSQL can store them, and as text: copied no more often than what they hold demands."""
    if b"\x00" in data:
        data = data.replace(b"\x00", rb"\u0000")
    try:
        return data, data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "backslashreplace")
        return text.encode(), text


def make_answer(answer_json: bytes, attempts: Iterable[Attempt] = ()) -> Content:
    """Return what is kept of an answer: the JSON served (`null` for none), and what providers said when they failed."""
    errors = [
        {
            "provider": attempt.provider,
            "model": storable_text(attempt.model_name),
            "message": storable_text(attempt.error),
        }
        for attempt in attempts
        if not attempt.ok
    ]
    return make_content(b'{"answer":%b,"errors":%b}' % (answer_json, orjson.dumps(errors)))


def redact_files(raw: bytes) -> bytes:
    """Put each Base64 file's media type, size and hash in its place; a body without one is returned as it is."""
    if not any(marker in raw for marker in _FILE_MARKERS):
        return raw
    try:
        document = json.loads(raw)
        if not _redact(document):
            return raw
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return raw


def _redact(document: Any) -> bool:
    """Describe the files in a JSON document, in place; say whether there were any."""
    found = False
    left = [document]
    while left:
        container = left.pop()
        for key, value in list(_items(container)):
            if isinstance(value, str):
                if described := _find_description(key, value):
                    container[key] = described
                    found = True
            elif isinstance(value, dict) and key == "input_audio":
                found |= _redact_audio(value)
            elif isinstance(value, dict | list):
                left.append(value)
    return found


def _items(container: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(container, dict):
        yield from container.items()
    elif isinstance(container, list):
        yield from enumerate(container)


def _find_description(key: Any, value: str) -> dict[str, Any] | None:
    """Return the description of a file where one may stand; a text that looks like one is kept."""
    if key not in _FILE_KEYS:
        return None
    head = value[:256].partition(",")[0]
    if head.startswith("data:") and head.endswith(";base64"):
        media_type = head.removeprefix("data:").partition(";")[0]
        return _described(value[len(head) + 1 :], media_type)
    return _described(value, "") if key == "file_data" else None


def _redact_audio(audio: dict[str, Any]) -> bool:
    data = audio.get("data")
    described = _described(data, f"audio/{audio.get('format', '')}") if isinstance(data, str) else None
    if described:
        audio["data"] = described
    return described is not None


def _described(payload: str, media_type: str) -> dict[str, Any] | None:
    """Return what a file is; None for what is not Base64, which could be a text meant to be read."""
    try:
        file = base64.b64decode(payload.encode(), validate=True)
    except ValueError:
        return None
    return {"media_type": media_type, "bytes": len(file), "sha256": hashlib.sha256(file).hexdigest()}

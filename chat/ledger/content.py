"""Bodies of requests and responses as the ledger stores them, and their commitments."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from chat.ledger.canonical import storable_text
from chat.ledger.files import cut_files, dump_files
from providers.types import Attempt

SALT_BYTES = 32
NO_FILES = "[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A stored body, and the facts that its event commits to.

    Shape: `body` is the received body, byte for byte, without its files; `files` lists these as JSON, see `CutFile`.
    Both are None if the body was not read. `commitment` is the HMAC-SHA256 of the received body, in hex.
    `kept_commitment` is that of `files`, a line feed and `body`; None if no file was cut out: both would be the same.
    Units: `size_bytes` is the size of the body as received, or as declared.
    """

    body: bytes | None = field(repr=False)
    files: str | None = field(repr=False)
    salt: bytes = field(repr=False)
    commitment: str | None
    kept_commitment: str | None = None
    size_bytes: int


def make_content(raw: bytes) -> Content:
    """Return the content to store of a body: all of it, with a description of each file in the file's stead."""
    salt = os.urandom(SALT_BYTES)
    body, files = cut_files(raw)
    files_json = dump_files(files) if files else NO_FILES
    return Content(
        body=body,
        files=files_json,
        salt=salt,
        commitment=commit(salt, raw),
        kept_commitment=commit(salt, b"%b\n%b" % (files_json.encode(), body)) if files else None,
        size_bytes=len(raw),
    )


def unread_content(size_bytes: int) -> Content:
    """Return the content to store of a body that was not read: its size alone."""
    return Content(body=None, files=None, salt=b"", commitment=None, size_bytes=size_bytes)


def make_answer(answer_json: bytes, attempts: Iterable[Attempt] = ()) -> Content:
    """Return the content to store of an answer: the JSON served (`null` for none) and the providers' errors."""
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


def commit(salt: bytes, data: bytes) -> str:
    """Return the HMAC-SHA256 of `data` under `salt`, in hex."""
    return hmac.new(salt, data, "sha256").hexdigest()

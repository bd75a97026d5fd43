"""Parameters of `APPEND` in PostgreSQL's binary format; psycopg's own array dumper inspects every item repeatedly.

Source: `array_recv` in src/backend/utils/adt/arrayfuncs.c of PostgreSQL 18, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from uuid import UUID

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format
from psycopg.types.numeric import Int8

from chat.ledger.entries import APPEND, LedgerEntry, WriterIdentity, kept_contents

APPEND_BINARY = APPEND.replace("%s", "%b")
APPEND_ONE_BINARY = re.sub(r"%b::(\w+)\[\]", r"ARRAY[%b::\1]", APPEND_BINARY)
"""Appends one entry and binds its values as scalars: an array would copy its body."""

# Item types, by their OIDs in pg_type.
_BYTEA, _BIGINT, _TEXT, _UUID = 17, 20, 25, 2950

_HEAD = Struct(">iiIii")
_SIZE = Struct(">i")
_COUNT = Struct(">q")
_NULL = _SIZE.pack(-1)


@dataclass(frozen=True, slots=True)
class Binary:
    """A value already in wire format; the statement casts it to its type."""

    data: bytes = field(repr=False)


class _BinaryDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Binary) -> bytes:
        return obj.data


def register_binary(adapters: AdaptersMap) -> None:
    """Let a connection bind parameters of type `Binary`."""
    adapters.register_dumper(Binary, _BinaryDumper)


def binary_parameters(identity: WriterIdentity, entries: Sequence[LedgerEntry]) -> tuple[UUID | bytes | Binary, ...]:
    """Return the parameters of `APPEND_BINARY`.

    Errors: UnicodeError if an entry's text is not valid Unicode.
    """
    contents = kept_contents(entries)
    return (
        identity.writer_id,
        identity.secret,
        _array(_TEXT, [entry.kind.encode() for entry in entries]),
        _array(_UUID, [entry.chat_id.bytes if entry.chat_id else None for entry in entries]),
        _array(_TEXT, [entry.event.encode() for entry in entries]),
        _array(_BYTEA, [content.body if content else None for content in contents]),
        _array(_TEXT, [(content.files or "").encode() if content else None for content in contents]),
        _array(_BYTEA, [content.salt if content else None for content in contents]),
        _array(_BIGINT, [_COUNT.pack(content.size_bytes) if content else None for content in contents]),
    )


def parameters_of_one(identity: WriterIdentity, entry: LedgerEntry) -> tuple[UUID | bytes | str | Int8 | None, ...]:
    """Return the parameters of `APPEND_ONE_BINARY`. Errors: UnicodeError from psycopg, as of `binary_parameters`."""
    head = (identity.writer_id, identity.secret, entry.kind, entry.chat_id, entry.event)
    content = entry.content
    if content is None or content.body is None:
        return (*head, None, None, None, None)
    return (*head, content.body, content.files, content.salt, Int8(content.size_bytes))


def _array(type_: int, items: Sequence[bytes | None]) -> Binary:
    chunks = [_HEAD.pack(1, 1, type_, len(items), 1)]
    for item in items:
        chunks += (_NULL,) if item is None else (_SIZE.pack(len(item)), item)
    return Binary(b"".join(chunks))

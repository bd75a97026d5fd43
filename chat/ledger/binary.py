"""Parameters of `APPEND` in PostgreSQL's binary format; psycopg's own array dumper inspects every item repeatedly.

Source: `array_recv` in src/backend/utils/adt/arrayfuncs.c of PostgreSQL 18, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from uuid import UUID

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

from chat.ledger.entries import APPEND, LedgerEntry, WriterIdentity, kept_contents

APPEND_BINARY = APPEND.replace("%s", "%b")
APPEND_ONE_BINARY = APPEND_BINARY.replace("%b::bytea[]", "ARRAY[%b::bytea]", 1)
"""Appends one entry and binds its body as a scalar: an array would copy the body."""

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


def binary_parameters(
    identity: WriterIdentity, entries: Sequence[LedgerEntry]
) -> tuple[UUID | bytes | Binary | None, ...]:
    """Return the parameters of `APPEND_BINARY`.

    Errors: UnicodeError if an entry's text is not valid Unicode.
    """
    contents = kept_contents(entries)
    return _parameters(identity, entries, _array(_BYTEA, [content.body if content else None for content in contents]))


def binary_parameters_of_one(identity: WriterIdentity, entry: LedgerEntry) -> tuple[UUID | bytes | Binary | None, ...]:
    """Return the parameters of `APPEND_ONE_BINARY`.

    Errors: as `binary_parameters`.
    """
    body = entry.content.body if entry.content else None
    return _parameters(identity, [entry], None if body is None else Binary(body))


def _parameters(
    identity: WriterIdentity, entries: Sequence[LedgerEntry], bodies: Binary | None
) -> tuple[UUID | bytes | Binary | None, ...]:
    contents = kept_contents(entries)
    return (
        identity.writer_id,
        identity.secret,
        _array(_TEXT, [entry.kind.encode() for entry in entries]),
        _array(_UUID, [entry.chat_id.bytes if entry.chat_id else None for entry in entries]),
        _array(_TEXT, [entry.event.encode() for entry in entries]),
        bodies,
        _array(_TEXT, [(content.files or "").encode() if content else None for content in contents]),
        _array(_BYTEA, [content.salt if content else None for content in contents]),
        _array(_BIGINT, [_COUNT.pack(content.size_bytes) if content else None for content in contents]),
    )


def _array(type_: int, items: Sequence[bytes | None]) -> Binary:
    chunks = [_HEAD.pack(1, 1, type_, len(items), 1)]
    for item in items:
        chunks += (_NULL,) if item is None else (_SIZE.pack(len(item)), item)
    return Binary(b"".join(chunks))

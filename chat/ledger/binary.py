"""Entries as PostgreSQL takes them in binary: psycopg's own arrays look at every item several times.

Source: `array_recv` in src/backend/utils/adt/arrayfuncs.c of PostgreSQL 18, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from uuid import UUID

from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

from chat.ledger.entries import APPEND, LedgerEntry, Seat, kept_contents

APPEND_BINARY = APPEND.replace("%s", "%b")
APPEND_ONE_BINARY = APPEND_BINARY.replace("%b::bytea[]", "ARRAY[%b::bytea]", 1)
"""Takes one entry, whose body stands alone: in an array it would be copied."""

# The types of items, by their numbers in pg_type.
_BYTEA, _BIGINT, _TEXT, _UUID = 17, 20, 25, 2950

_HEAD = Struct(">iiIii")
_SIZE = Struct(">i")
_COUNT = Struct(">q")
_NULL = _SIZE.pack(-1)


@dataclass(frozen=True, slots=True)
class Binary:
    """A value as it goes over the wire; the statement casts it to its type."""

    data: bytes = field(repr=False)


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Binary) -> bytes:
        return obj.data


def take_binary(adapters: AdaptersMap) -> None:
    """Let the statements of a connection have parameters of this kind."""
    adapters.register_dumper(Binary, _AsItIs)


def binary_parameters(seat: Seat, entries: Sequence[LedgerEntry]) -> tuple[UUID | bytes | Binary | None, ...]:
    """Return what `APPEND_BINARY` takes.

    Errors: UnicodeError for an entry with text that is not Unicode.
    """
    contents = kept_contents(entries)
    return _parameters(seat, entries, _array(_BYTEA, [content.body if content else None for content in contents]))


def binary_parameters_of_one(seat: Seat, entry: LedgerEntry) -> tuple[UUID | bytes | Binary | None, ...]:
    """Return what `APPEND_ONE_BINARY` takes.

    Errors: as `binary_parameters`.
    """
    body = entry.content.body if entry.content else None
    return _parameters(seat, [entry], None if body is None else Binary(body))


def _parameters(
    seat: Seat, entries: Sequence[LedgerEntry], bodies: Binary | None
) -> tuple[UUID | bytes | Binary | None, ...]:
    contents = kept_contents(entries)
    return (
        seat.writer_id,
        seat.secret,
        _array(_TEXT, [entry.kind.encode() for entry in entries]),
        _array(_UUID, [entry.chat_id.bytes if entry.chat_id else None for entry in entries]),
        _array(_TEXT, [entry.event.encode() for entry in entries]),
        bodies,
        _array(_TEXT, [(content.files or "").encode() if content else None for content in contents]),
        _array(_BYTEA, [content.salt if content else None for content in contents]),
        _array(_BIGINT, [_COUNT.pack(content.size_bytes) if content else None for content in contents]),
    )


def _array(type_: int, items: Sequence[bytes | None]) -> Binary:
    pieces = [_HEAD.pack(1, 1, type_, len(items), 1)]
    for item in items:
        pieces += (_NULL,) if item is None else (_SIZE.pack(len(item)), item)
    return Binary(b"".join(pieces))

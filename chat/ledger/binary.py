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

from chat.ledger.entries import APPEND, LedgerEntry, kept_contents

APPEND_BINARY = APPEND.replace("%s", "%b")

# The types of items, by their numbers in pg_type.
_BYTEA, _BIGINT, _TEXT, _UUID = 17, 20, 25, 2950

_HEAD = Struct(">iiIii")
_SIZE = Struct(">i")
_COUNT = Struct(">q")
_NULL = _SIZE.pack(-1)


@dataclass(frozen=True, slots=True)
class BinaryArray:
    """An array as it goes over the wire; the statement casts it to its type."""

    data: bytes = field(repr=False)


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        return obj.data


def take_binary_arrays(adapters: AdaptersMap) -> None:
    """Let the statements of a connection have parameters of this kind."""
    adapters.register_dumper(BinaryArray, _AsItIs)


def binary_parameters(writer_id: UUID, entries: Sequence[LedgerEntry]) -> tuple[UUID | BinaryArray, ...]:
    """Return what `APPEND_BINARY` takes.

    Errors: UnicodeError for an entry with text that is not Unicode.
    """
    contents = kept_contents(entries)
    return (
        writer_id,
        _array(_TEXT, [entry.kind.encode() for entry in entries]),
        _array(_UUID, [entry.chat_id.bytes if entry.chat_id else None for entry in entries]),
        _array(_TEXT, [entry.event.encode() for entry in entries]),
        _array(_BYTEA, [content.body if content else None for content in contents]),
        _array(_TEXT, [(content.files or "").encode() if content else None for content in contents]),
        _array(_BYTEA, [content.salt if content else None for content in contents]),
        _array(_BIGINT, [_COUNT.pack(content.size_bytes) if content else None for content in contents]),
    )


def _array(type_: int, items: Sequence[bytes | None]) -> BinaryArray:
    pieces = [_HEAD.pack(1, 1, type_, len(items), 1)]
    for item in items:
        pieces += (_NULL,) if item is None else (_SIZE.pack(len(item)), item)
    return BinaryArray(b"".join(pieces))

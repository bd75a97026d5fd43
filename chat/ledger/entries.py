"""Entries to append to the ledger, and the receipts for them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from chat.ledger.content import Content

ENTRY_OVERHEAD_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One event to append.

    Shape: `event` is canonical JSON that names this `kind` and `chat_id`; see `chat.ledger.events`.
    Units: `size_bytes` estimates the memory the entry takes.
    """

    kind: str
    chat_id: UUID | None
    event: str = field(repr=False)
    content: Content | None = None
    size_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kept_bytes = len(self.content.body or b"") + len(self.content.files or "") if self.content else 0
        object.__setattr__(self, "size_bytes", ENTRY_OVERHEAD_BYTES + len(self.event) + kept_bytes)


@dataclass(frozen=True, slots=True)
class WriterIdentity:
    """The id and the secret of one writer; the database stores only the secret's hash.

    The writers of one process share the secret: each may then end the chats that another opened.
    """

    secret: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)
    writer_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The database's reply for a committed entry."""

    id: UUID
    at: datetime
    writer_seq: int
    leaf_hash: bytes


APPEND = (
    "SELECT id, at, writer_seq, leaf_hash FROM ledger_append("
    "%s::uuid, %s::bytea, %s::text[], %s::uuid[], %s::text[], %s::bytea[], %s::text[], %s::bytea[], %s::bigint[])"
)


def kept_contents(entries: Sequence[LedgerEntry]) -> list[Content | None]:
    """Return the contents of entries; None for an entry without a stored body."""
    return [entry.content if entry.content and entry.content.body is not None else None for entry in entries]


def append_parameters(identity: WriterIdentity, entries: Sequence[LedgerEntry]) -> tuple[Any, ...]:
    """Return the parameters of `APPEND`."""
    contents = kept_contents(entries)
    return (
        identity.writer_id,
        identity.secret,
        [entry.kind for entry in entries],
        [entry.chat_id for entry in entries],
        [entry.event for entry in entries],
        [content.body if content else None for content in contents],
        [content.files if content else None for content in contents],
        [content.salt if content else None for content in contents],
        [content.size_bytes if content else None for content in contents],
    )

"""When this process last accepted each API key; `llmhub.access.last_used_writer` stores it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

_pending: dict[str, datetime] = {}


def note_use(digest: str, at: datetime) -> None:
    """Note in memory that a key was accepted. Thread-safe; does no I/O."""
    _pending[digest] = at


def take_uses() -> dict[str, datetime]:
    """Remove and return the noted times, by digest. Concurrent `note_use` is safe."""
    uses: dict[str, datetime] = {}
    while _pending:
        digest, at = _pending.popitem()
        uses[digest] = at
    return uses


def give_back(uses: Mapping[str, datetime]) -> None:
    """Put back times that could not be stored, unless the key was used since."""
    for digest, at in uses.items():
        _pending.setdefault(digest, at)

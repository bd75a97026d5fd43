"""When API keys were last let in, as this process noted it; written by `llmhub.access.last_used_writer`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

_noted: dict[str, datetime] = {}


def note_use(digest: str, at: datetime) -> None:
    """Note in memory that a key was let in; nobody waits for more than that. Safe from any thread."""
    _noted[digest] = at


def take_uses() -> dict[str, datetime]:
    """Return what was noted, by the digest of the key, and forget it. Others may note while it runs."""
    taken: dict[str, datetime] = {}
    while _noted:
        digest, at = _noted.popitem()
        taken[digest] = at
    return taken


def give_back(uses: Mapping[str, datetime]) -> None:
    """Note again what could not be written, unless the key was used since."""
    for digest, at in uses.items():
        _noted.setdefault(digest, at)

"""A process's two lanes into the ledger: no small entry waits behind a large one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from chat.ledger.entries import LedgerEntry, Receipt, WriterIdentity
from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.large_work import LARGE_BYTES

SMALL = WriterLimits(batch_bytes=4 * 1024 * 1024)
LARGE = WriterLimits(batch_bytes=LARGE_BYTES, statement_timeout_s=30.0, silence_timeout_s=31.0)


class Ledger(Protocol):
    """Accepts the entries of a process; see `LedgerWriter`."""

    @property
    def is_up(self) -> bool: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def append(self, entry: LedgerEntry, *, or_late: Callable[[], LedgerEntry] | None = None) -> Receipt: ...
    def append_when_up(self, entry: LedgerEntry) -> None: ...


class LedgerLanes:
    """Two writers with their own connections, identities and queues: one for small entries, one for large ones.

    The events of one chat stay in order: while an entry of it is pending in a lane, the next uses the same lane.
    """

    def __init__(
        self, conninfo: str, *, role: str = "web", small: WriterLimits = SMALL, large: WriterLimits = LARGE
    ) -> None:
        identity = WriterIdentity()
        self.small = LedgerWriter(conninfo, role=role, identity=identity, lane="small", limits=small)
        self.large = LedgerWriter(
            conninfo, role=f"{role}-large", identity=WriterIdentity(secret=identity.secret), lane="large", limits=large
        )

    @property
    def is_up(self) -> bool:
        """Whether chats of the usual size can be recorded; the lane of large ones may be down."""
        return self.small.is_up

    async def start(self) -> None:
        await asyncio.gather(self.small.start(), self.large.start())

    async def stop(self) -> None:
        await asyncio.gather(self.small.stop(), self.large.stop())

    async def append(self, entry: LedgerEntry, *, or_late: Callable[[], LedgerEntry] | None = None) -> Receipt:
        return await self._lane_of(entry).append(entry, or_late=or_late)

    def append_when_up(self, entry: LedgerEntry) -> None:
        self._lane_of(entry).append_when_up(entry)

    def _lane_of(self, entry: LedgerEntry) -> LedgerWriter:
        usual, other = (self.large, self.small) if entry.size_bytes > LARGE_BYTES else (self.small, self.large)
        return other if other.has_pending(entry.chat_id) else usual

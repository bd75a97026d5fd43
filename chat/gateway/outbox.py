"""What one task hands to another, which may be slower: the bytes of a streamed answer."""

from __future__ import annotations

import asyncio


class Outbox:
    """A queue of one piece: who writes waits until the piece before was taken. One writer, one reader."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._taken = asyncio.Event()
        self.ready = asyncio.Event()
        """Set while there is a piece, and once the outbox is closed."""
        self.is_closed = False
        self.has_sent = False
        """Whether a piece was put in before the outbox was closed."""

    async def put(self, piece: bytes) -> None:
        while self._pieces:
            self._taken.clear()
            await self._taken.wait()
        self._pieces.append(piece)
        self.has_sent = True
        self.ready.set()

    async def get(self) -> bytes:
        """Return what was put in since; empty once the outbox is closed and nothing is left."""
        if not self._pieces and not self.is_closed:
            await self.ready.wait()
        pieces, self._pieces = self._pieces, []
        if not self.is_closed:
            self.ready.clear()
        self._taken.set()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self, last: bytes = b"") -> None:
        """Put in the last piece, for which nobody waits."""
        if last:
            self._pieces.append(last)
        self.is_closed = True
        self.ready.set()

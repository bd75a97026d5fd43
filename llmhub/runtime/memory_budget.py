"""Bound the memory of all bodies and answers in a process, with fair shares for their owners."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from types import TracebackType
from typing import Self

MB = 1024 * 1024
MAX_WAITING = 128
"""How many requests of one owner may wait; each holds a part of its body in the server's buffers."""


class MemoryBudgetExceededError(Exception):
    """The budget has no room for a reservation."""

    retry_after_s = 5.0

    def __init__(self) -> None:
        super().__init__("The hub has no memory free for this now; ask again in a few seconds.")


class LargerThanBudgetError(Exception):
    """A reservation exceeds the most that one owner may ever hold."""

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"The body takes {-(-size_bytes // MB)} MB of memory once understood, of at most {max_bytes // MB} MB "
            "for all that one key sends at the same time (LLMHUB_MEMORY_BUDGET_MB): send less at once."
        )


class MemoryBudget:
    """A budget of memory. Belongs to one event loop.

    An owner may hold at most as much as stays free for others: no owner can starve another.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._held_bytes: dict[str, int] = {}
        self._waiting: dict[str, deque[_PendingReservation]] = {}

    @property
    def held_bytes(self) -> int:
        return self.total_bytes - self._free_bytes

    def holding(self, owner: str) -> Holding:
        """Return an empty reservation for one request of an owner."""
        return Holding(self, owner)

    def _has_room(self, owner: str, size_bytes: int) -> bool:
        left_bytes = self._free_bytes - size_bytes
        return not size_bytes or self._held_bytes.get(owner, 0) + size_bytes <= left_bytes

    def _move(self, owner: str, size_bytes: int) -> None:
        """Move bytes from free to an owner; back if negative."""
        self._free_bytes -= size_bytes
        held_bytes = self._held_bytes.get(owner, 0) + size_bytes
        if held_bytes:
            self._held_bytes[owner] = held_bytes
        else:
            self._held_bytes.pop(owner, None)

    @property
    def _max_bytes_per_owner(self) -> int:
        """The most that a single owner may hold."""
        return self.total_bytes // 2

    def _enqueue(self, owner: str, size_bytes: int, *, goes_first: bool) -> _PendingReservation:
        """Queue a request for memory. Errors: MemoryBudgetExceededError if too many wait."""
        queue = self._waiting.setdefault(owner, deque())
        if len(queue) >= MAX_WAITING and not goes_first:
            raise MemoryBudgetExceededError
        pending = _PendingReservation(size_bytes)
        if goes_first:
            queue.appendleft(pending)
        else:
            queue.append(pending)
        return pending

    def _dequeue(self, owner: str, pending: _PendingReservation) -> None:
        queue = self._waiting[owner]
        queue.remove(pending)
        if not queue:
            del self._waiting[owner]

    def _grant_pending(self) -> None:
        """Grant the oldest pending reservation of each owner, round-robin, while any of them fits.

        Skips cancelled ones, which stay queued until their task runs again.
        """
        is_any_granted = bool(self._waiting)
        while is_any_granted:
            is_any_granted = False
            for owner, queue in list(self._waiting.items()):
                pending = next((pending for pending in queue if not pending.granted.cancelled()), None)
                if pending and self._has_room(owner, pending.size_bytes):
                    self._move(owner, pending.size_bytes)
                    self._dequeue(owner, pending)
                    pending.granted.set_result(None)
                    is_any_granted = True


class _PendingReservation:
    """A reservation that waits for room."""

    __slots__ = ("granted", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Holding:
    """The memory that one request reserves; as a context manager it releases everything at the end."""

    __slots__ = ("_budget", "owner", "size_bytes")

    def __init__(self, budget: MemoryBudget, owner: str) -> None:
        self._budget = budget
        self.owner = owner
        self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Reserve memory now. Errors: MemoryBudgetExceededError; then nothing is reserved."""
        if not self._budget._has_room(self.owner, size_bytes):  # noqa: SLF001  (the two classes are one unit)
            raise MemoryBudgetExceededError
        self._budget._move(self.owner, size_bytes)  # noqa: SLF001
        self.size_bytes += size_bytes

    async def take_when_free(self, size_bytes: int, *, timeout_s: float) -> None:
        """Reserve memory, waiting for room. One owner's requests are served in order; those that hold memory go first.

        A small reservation that fits overtakes larger pending ones.
        Errors: MemoryBudgetExceededError on timeout, or if too many wait; LargerThanBudgetError if it can never fit.
        """
        budget = self._budget
        max_bytes, total_bytes = budget._max_bytes_per_owner, self.size_bytes + size_bytes  # noqa: SLF001
        if total_bytes > max_bytes:
            raise LargerThanBudgetError(total_bytes, max_bytes)
        if not budget._has_room(self.owner, size_bytes):  # noqa: SLF001
            pending = budget._enqueue(self.owner, size_bytes, goes_first=self.size_bytes > 0)  # noqa: SLF001
            try:
                async with asyncio.timeout(timeout_s):
                    await pending.granted
            except BaseException as error:
                if pending.granted.cancelled():
                    budget._dequeue(self.owner, pending)  # noqa: SLF001
                else:
                    budget._move(self.owner, -size_bytes)  # noqa: SLF001  (granted just as the wait was cancelled)
                budget._grant_pending()  # noqa: SLF001  (others may wait behind it)
                if isinstance(error, TimeoutError):
                    raise MemoryBudgetExceededError from None
                raise
        else:
            budget._move(self.owner, size_bytes)  # noqa: SLF001
        self.size_bytes += size_bytes

    def give_back(self, size_bytes: int | None = None) -> None:
        """Release a part, or everything."""
        freed_bytes = self.size_bytes if size_bytes is None else min(size_bytes, self.size_bytes)
        if freed_bytes:
            self.size_bytes -= freed_bytes
            self._budget._move(self.owner, -freed_bytes)  # noqa: SLF001
            self._budget._grant_pending()  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give_back()


UNBOUNDED = MemoryBudget(sys.maxsize).holding("")
"""For work without a budget."""

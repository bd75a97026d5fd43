"""One bound on the memory that the bodies and answers of a process take together, shared fairly among their owners."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from types import TracebackType
from typing import Self

MB = 1024 * 1024
MOST_WAITING = 128
"""How many requests of one owner wait for room: each has a piece of its body in the server's buffers."""


class MemoryBudgetExceededError(Exception):
    """There is no room for what an owner wants to hold."""

    retry_after_s = 5.0

    def __init__(self) -> None:
        super().__init__("The hub has no memory free for this now; ask again in a few seconds.")


class LargerThanBudgetError(Exception):
    """What is to be held is more than an owner ever may."""

    def __init__(self, size_bytes: int, most_bytes: int) -> None:
        super().__init__(
            f"The body takes {-(-size_bytes // MB)} MB of memory once understood, of at most {most_bytes // MB} MB "
            "for all that one key sends at the same time (LLMHUB_MEMORY_BUDGET_MB): send less at once."
        )


class MemoryBudget:
    """What may be held in memory at the same time. Belongs to one event loop.

    An owner may hold at most as much as is then left for everybody else: however much one wants, another finds room.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._held_bytes: dict[str, int] = {}
        self._waiting: dict[str, deque[_Wish]] = {}

    @property
    def held_bytes(self) -> int:
        return self.total_bytes - self._free_bytes

    def holding(self, owner: str) -> Holding:
        """Return what one request of an owner holds: nothing as yet."""
        return Holding(self, owner)

    def _has_room(self, owner: str, size_bytes: int) -> bool:
        left_bytes = self._free_bytes - size_bytes
        return not size_bytes or self._held_bytes.get(owner, 0) + size_bytes <= left_bytes

    def _move(self, owner: str, size_bytes: int) -> None:
        """Count as held by an owner what was free, or the other way round below zero."""
        self._free_bytes -= size_bytes
        held_bytes = self._held_bytes.get(owner, 0) + size_bytes
        if held_bytes:
            self._held_bytes[owner] = held_bytes
        else:
            self._held_bytes.pop(owner, None)

    @property
    def _most_bytes(self) -> int:
        """What an owner may hold who is alone."""
        return self.total_bytes // 2

    def _wish(self, owner: str, size_bytes: int, *, goes_first: bool) -> _Wish:
        """Errors: MemoryBudgetExceededError where too many wait."""
        wishes = self._waiting.setdefault(owner, deque())
        if len(wishes) >= MOST_WAITING and not goes_first:
            raise MemoryBudgetExceededError
        wish = _Wish(size_bytes)
        if goes_first:
            wishes.appendleft(wish)
        else:
            wishes.append(wish)
        return wish

    def _forget(self, owner: str, wish: _Wish) -> None:
        wishes = self._waiting[owner]
        wishes.remove(wish)
        if not wishes:
            del self._waiting[owner]

    def _fulfil(self) -> None:
        """Let in who waited longest of each owner, in turn, as long as there is room for any of them.

        Who was cancelled stands among them until it runs again, and is passed over.
        """
        is_any_let_in = bool(self._waiting)
        while is_any_let_in:
            is_any_let_in = False
            for owner, wishes in list(self._waiting.items()):
                wish = next((wish for wish in wishes if not wish.granted.cancelled()), None)
                if wish and self._has_room(owner, wish.size_bytes):
                    self._move(owner, wish.size_bytes)
                    self._forget(owner, wish)
                    wish.granted.set_result(None)
                    is_any_let_in = True


class _Wish:
    """What somebody waits to hold."""

    __slots__ = ("granted", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Holding:
    """What one request holds of the budget; as a context manager it gives everything back at the end."""

    __slots__ = ("_budget", "owner", "size_bytes")

    def __init__(self, budget: MemoryBudget, owner: str) -> None:
        self._budget = budget
        self.owner = owner
        self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Errors: MemoryBudgetExceededError, at once, and nothing is taken."""
        if not self._budget._has_room(self.owner, size_bytes):  # noqa: SLF001  (the two are one thing)
            raise MemoryBudgetExceededError
        self._budget._move(self.owner, size_bytes)  # noqa: SLF001
        self.size_bytes += size_bytes

    async def take_when_free(self, size_bytes: int, *, timeout_s: float) -> None:
        """Wait until there is room. Who waits for the same owner is let in as they came, who holds something first.

        A small wish that finds room passes large ones that wait.
        Errors: MemoryBudgetExceededError when there was none in time, or too many wait already; LargerThanBudgetError,
        at once, when there never will be.
        """
        budget = self._budget
        most_bytes, wanted_bytes = budget._most_bytes, self.size_bytes + size_bytes  # noqa: SLF001
        if wanted_bytes > most_bytes:
            raise LargerThanBudgetError(wanted_bytes, most_bytes)
        if not budget._has_room(self.owner, size_bytes):  # noqa: SLF001
            wish = budget._wish(self.owner, size_bytes, goes_first=self.size_bytes > 0)  # noqa: SLF001
            try:
                async with asyncio.timeout(timeout_s):
                    await wish.granted
            except BaseException as error:
                if wish.granted.cancelled():
                    budget._forget(self.owner, wish)  # noqa: SLF001
                else:
                    budget._move(self.owner, -size_bytes)  # noqa: SLF001  (granted as the wait was given up)
                budget._fulfil()  # noqa: SLF001  (others may have waited behind it)
                if isinstance(error, TimeoutError):
                    raise MemoryBudgetExceededError from None
                raise
        else:
            budget._move(self.owner, size_bytes)  # noqa: SLF001
        self.size_bytes += size_bytes

    def give_back(self, size_bytes: int | None = None) -> None:
        """Give back a part, or all of it."""
        freed_bytes = self.size_bytes if size_bytes is None else min(size_bytes, self.size_bytes)
        if freed_bytes:
            self.size_bytes -= freed_bytes
            self._budget._move(self.owner, -freed_bytes)  # noqa: SLF001
            self._budget._fulfil()  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give_back()


UNBOUNDED = MemoryBudget(sys.maxsize).holding("")
"""For what no budget counts."""

"""Work on large bodies, done beside the event loop: one piece at a time, the owners in turn, with rests between.

A thread takes the interpreter from the loop for as long as one call into C lasts, and for a moment at each switch.
Resting keeps the rest of the time free for everybody else's chats.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

BURST_S = 0.05
"""How long work may go on before the first rest."""

SHARE = 0.25
"""The part of the time that work may take when there is always some."""

T = TypeVar("T")


class LargeWork:
    """Belongs to one event loop."""

    def __init__(self, *, burst_s: float = BURST_S, share: float = SHARE) -> None:
        self._burst_s = burst_s
        self._share = share
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-work")
        self._waiting: dict[str, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._credit_s = burst_s
        self._credited_at_s = 0.0

    async def do(self, owner: str, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises; who no longer waits need not be served."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        in_context = copy_context()
        self._waiting.setdefault(owner, deque()).append((lambda: in_context.run(work), done))
        if self._worker is None:
            self._worker = loop.create_task(self._run())
        return await done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                work, done = self._next()
                if done.done():
                    continue
                await asyncio.sleep(self._rest_s())
                took_s, result, error = await loop.run_in_executor(self._thread, _timed, work)
                self._credit_s -= took_s
                if done.done():
                    continue
                if error is None:
                    done.set_result(result)
                else:
                    done.set_exception(error)
        finally:
            self._worker = None

    def _next(self) -> tuple[Callable[[], Any], asyncio.Future[Any]]:
        """Take the first piece of the owner whose turn it is, and put that owner behind the others."""
        owner = next(iter(self._waiting))
        pieces = self._waiting.pop(owner)
        piece = pieces.popleft()
        if pieces:
            self._waiting[owner] = pieces
        return piece

    def _rest_s(self) -> float:
        """Return how long to rest until as much time was free as the work so far must leave."""
        now_s = time.monotonic()
        earned_s = (now_s - self._credited_at_s) * self._share
        self._credit_s = min(self._burst_s, self._credit_s + earned_s)
        self._credited_at_s = now_s
        return max(0.0, -self._credit_s / self._share)

    def stop(self) -> None:
        self._thread.shutdown(wait=False)


def _timed(work: Callable[[], Any]) -> tuple[float, Any, Exception | None]:
    """Return how much time of a processor the work took, what it returned, and what it raised instead."""
    began_s = time.thread_time()
    try:
        result, error = work(), None
    except Exception as raised:
        result, error = None, raised
    return time.thread_time() - began_s, result, error

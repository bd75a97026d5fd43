"""Work on what is large, done beside the event loop: one piece at a time, the owners in turn, with rests between.

A thread takes the interpreter from the loop for as long as one call into C lasts, which grows with the body. The longer
a piece took, the rarer such pieces must be for others not to notice.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

LARGE_BYTES = 256 * 1024
"""What is smaller is done at once: a thread would cost more."""

HUGE_BYTES = 4 * 1024 * 1024
"""What is larger waits for others of its size only."""

EVEN_S = 0.01
"""Work that takes so long is followed by as long a rest; of twice as long work the rest is four times as long."""

LONGEST_REST_S = 3.0

T = TypeVar("T")


class LargeWork:
    """One thread. Belongs to one event loop."""

    def __init__(self, *, even_s: float = EVEN_S) -> None:
        self._even_s = even_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-work")
        self._thread.submit(int)  # so that the thread is there from now on
        self._waiting: dict[str, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._free_at_s = 0.0

    async def do(self, owner: str, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises; who no longer waits need not be served."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        in_context = copy_context()
        self._waiting.setdefault(owner, deque()).append((lambda: in_context.run(work), done))
        if self._worker is None:
            self._worker = loop.create_task(self._run())
        try:
            return await done
        finally:
            del done  # see `_Piece.take_error`

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if (rest_s := self._free_at_s - loop.time()) > 0:
                    await asyncio.sleep(rest_s)
                await self._do_next(loop)
        finally:
            self._worker = None

    async def _do_next(self, loop: asyncio.AbstractEventLoop) -> None:
        work, done = self._next()
        if done.done():
            return
        piece = _Piece(work)
        try:
            await loop.run_in_executor(self._thread, piece.do)
        except BaseException:
            done.cancel()
            raise
        self._free_at_s = loop.time() + min(piece.took_s**2 / self._even_s, LONGEST_REST_S)
        if done.done():
            return
        if (error := piece.take_error()) is not None:
            done.set_exception(error)
        else:
            done.set_result(piece.result)

    def _next(self) -> tuple[Callable[[], Any], asyncio.Future[Any]]:
        """Take the first piece of the owner whose turn it is, and put that owner behind the others."""
        owner = next(iter(self._waiting))
        pieces = self._waiting.pop(owner)
        piece = pieces.popleft()
        if pieces:
            self._waiting[owner] = pieces
        return piece

    def stop(self) -> None:
        self._thread.shutdown(wait=False)


class _Piece:
    """A piece of work and what came of it. Units: `took_s` are seconds of a processor."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._error: Exception | None = None
        self.result: Any = None
        self.took_s = 0.0

    def do(self) -> None:
        began_s = time.thread_time()
        try:
            self.result = self._work()
        except Exception as error:
            self._error = error
        self.took_s = time.thread_time() - began_s

    def take_error(self) -> Exception | None:
        """Return what the work raised instead, and keep it no longer.

        Its traceback holds the frames it went through, and these the body that the work was on: what one of them held
        of it in turn would keep all that in memory until a collection.
        """
        error, self._error = self._error, None
        return error


@dataclass(frozen=True, slots=True)
class _Threads:
    large: LargeWork
    huge: LargeWork
    at_once_bytes: int


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


async def done_beside(owner: str, work: Callable[[], T], *, size_bytes: int) -> T:
    """Do work on so many bytes in one of the running loop's two threads; see `LargeWork.do`."""
    threads = start_large_work()
    if size_bytes <= threads.at_once_bytes:
        return work()
    return await (threads.huge if size_bytes > HUGE_BYTES else threads.large).do(owner, work)


def start_large_work(*, at_once_bytes: int = 0) -> _Threads:
    """Return what does large and huge work for the running loop, begun at the first call.

    Shape: up to `at_once_bytes` nothing is done beside the loop; for a process that serves large requests alone.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = _Threads(LargeWork(), LargeWork(), at_once_bytes)
    return _of_loops[loop]


def stop_large_work() -> None:
    """End the threads of the running loop."""
    if threads := _of_loops.pop(asyncio.get_running_loop(), None):
        threads.large.stop()
        threads.huge.stop()

"""Run work on large bodies in a thread: one item at a time, round-robin over owners, with pauses between.

A thread holds the interpreter for one C call, whose length grows with the body, and blocks the event loop. The
longer an item took, the longer the pause after it, so that other requests are not delayed noticeably.
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
"""Smaller work runs inline: a thread would cost more."""

HUGE_BYTES = 4 * 1024 * 1024
"""Larger work has a thread of its own."""

EVEN_S = 0.01
"""Work of this duration is followed by an equal pause; the pause grows with the square of the duration."""

MAX_PAUSE_S = 3.0

T = TypeVar("T")


class LargeWork:
    """One thread. Belongs to one event loop."""

    def __init__(self, *, even_s: float = EVEN_S) -> None:
        self._even_s = even_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-work")
        self._thread.submit(int)  # starts the thread now
        self._waiting: dict[str, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._free_at_s = 0.0

    async def do(self, owner: str, work: Callable[[], T]) -> T:
        """Run work for an owner, and return or raise its result; cancelled work is skipped."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()
        self._waiting.setdefault(owner, deque()).append((lambda: context.run(work), future))
        if self._worker is None:
            self._worker = loop.create_task(self._run())
        try:
            return await future
        finally:
            del future  # see `_WorkItem.take_error`

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if (pause_s := self._free_at_s - loop.time()) > 0:
                    await asyncio.sleep(pause_s)
                await self._do_next(loop)
        finally:
            self._worker = None

    async def _do_next(self, loop: asyncio.AbstractEventLoop) -> None:
        work, future = self._next()
        if future.done():
            return
        item = _WorkItem(work)
        try:
            await loop.run_in_executor(self._thread, item.do)
        except BaseException:
            future.cancel()
            raise
        self._free_at_s = loop.time() + min(item.took_s**2 / self._even_s, MAX_PAUSE_S)
        if future.done():
            return
        if (error := item.take_error()) is not None:
            future.set_exception(error)
        else:
            future.set_result(item.result)

    def _next(self) -> tuple[Callable[[], Any], asyncio.Future[Any]]:
        """Pop the next item of the first owner, and move that owner to the end."""
        owner = next(iter(self._waiting))
        queue = self._waiting.pop(owner)
        item = queue.popleft()
        if queue:
            self._waiting[owner] = queue
        return item

    def stop(self) -> None:
        self._thread.shutdown(wait=False)


class _WorkItem:
    """One item of work and its result. Units: `took_s` is CPU time."""

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
        """Return and drop the exception of the work.

        Its traceback refers to the frames, and these to the body. A reference from a frame back to the exception
        would be a cycle: the body would stay in memory until a collection.
        """
        error, self._error = self._error, None
        return error


@dataclass(frozen=True, slots=True)
class _Threads:
    large: LargeWork
    huge: LargeWork
    at_once_bytes: int


_threads_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


async def done_beside(owner: str, work: Callable[[], T], *, size_bytes: int) -> T:
    """Run work on so many bytes in one of the loop's two threads, or inline; see `LargeWork.do`."""
    threads = start_large_work()
    if size_bytes <= threads.at_once_bytes:
        return work()
    return await (threads.huge if size_bytes > HUGE_BYTES else threads.large).do(owner, work)


def start_large_work(*, at_once_bytes: int = 0) -> _Threads:
    """Return the work threads of the running loop, started at the first call.

    Shape: work up to `at_once_bytes` runs inline, for a process that serves only large requests.
    """
    loop = asyncio.get_running_loop()
    if loop not in _threads_by_loop:
        _threads_by_loop[loop] = _Threads(LargeWork(), LargeWork(), at_once_bytes)
    return _threads_by_loop[loop]


def stop_large_work() -> None:
    """Stop the threads of the running loop."""
    if threads := _threads_by_loop.pop(asyncio.get_running_loop(), None):
        threads.large.stop()
        threads.huge.stop()

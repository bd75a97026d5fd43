"""One bound on the time of many waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def until(items: AsyncGenerator[T], deadline: float) -> AsyncGenerator[T]:
    """Pass items on until a moment of the monotonic clock.

    Errors: TimeoutError.
    """
    alarm = _Alarm()
    timer = asyncio.get_running_loop().call_later(deadline - time.monotonic(), alarm.ring)
    try:
        async with aclosing(items):
            while True:
                with alarm:
                    item = await anext(items, None)
                if item is None:
                    return
                yield item
    finally:
        timer.cancel()


class _Alarm:
    """What `asyncio.timeout` is to one wait, to many: a timer for each would cost more than the chunk it brings."""

    def __init__(self) -> None:
        self._is_over = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def ring(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> None:
        if self._is_over:
            raise TimeoutError
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        task, self._task = self._task, None
        if not self._is_over or task is None:
            return
        is_ours = task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError

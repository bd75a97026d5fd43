from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from chat.gateway.deadlines import until


class Source:
    """Gives what it is told to, and knows whether it was closed."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[int | None] = asyncio.Queue()
        self.is_closed = False

    async def take(self) -> AsyncGenerator[int]:
        try:
            while (item := await self.items.get()) is not None:
                yield item
        finally:
            self.is_closed = True


@pytest.fixture
def source() -> Source:
    return Source()


def within(seconds: float) -> float:
    return time.monotonic() + seconds


async def test_what_comes_in_time_is_passed_on_to_the_end(source):
    for item in (1, 2, None):
        source.items.put_nowait(item)

    got = [item async for item in until(source.take(), within(60))]

    assert got == [1, 2]
    assert source.is_closed


async def test_a_wait_ends_at_the_deadline_and_closes_the_source(source):
    source.items.put_nowait(1)
    items = until(source.take(), within(0.3))

    first = await anext(items)
    with pytest.raises(TimeoutError):
        await anext(items)

    assert first == 1
    assert source.is_closed


async def test_a_deadline_that_passes_between_two_waits_ends_the_next(source):
    source.items.put_nowait(1)
    source.items.put_nowait(2)

    deadline_s = within(0.3)
    async with aclosing(until(source.take(), deadline_s)) as items:
        assert await anext(items) == 1
        await asyncio.sleep(deadline_s - time.monotonic() + 0.01)
        with pytest.raises(TimeoutError):
            await anext(items)


async def test_a_cancelled_wait_is_cancelled_and_not_timed_out(source):
    waiting = asyncio.ensure_future(anext(until(source.take(), within(60))))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_task_is_whole_again_after_its_deadline(source):
    with pytest.raises(TimeoutError):
        await anext(until(source.take(), within(0.01)))

    task = asyncio.current_task()

    assert task is not None
    assert task.cancelling() == 0

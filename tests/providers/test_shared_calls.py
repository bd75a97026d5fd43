from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.errors import ProviderError
from providers.shared_calls import SharedCalls
from tests.live import until

MANY = 8


class Work:
    """Something slow, which ends when it is told to."""

    def __init__(self, *, error: BaseException | None = None) -> None:
        self.error = error
        self.done = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.done += 1
        await self.may_end.wait()
        if self.error:
            raise self.error
        return self.done


async def outcomes(calls: SharedCalls, work: Work, *keys: str) -> list[object]:
    tasks = [asyncio.create_task(calls.call(key, work)) for key in keys]
    await asyncio.sleep(0)
    work.may_end.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_of_one_key_at_the_same_time_are_carried_out_once():
    work = Work()

    assert await outcomes(SharedCalls(), work, *["a"] * MANY) == [1] * MANY


async def test_calls_of_different_keys_have_nothing_to_do_with_each_other():
    work = Work()

    await outcomes(SharedCalls(), work, "a", "b")

    assert work.done == 2


async def test_a_call_after_the_end_of_another_is_carried_out_anew():
    calls, work = SharedCalls(), Work()

    await outcomes(calls, work, "a")

    assert await outcomes(calls, work, "a") == [2]


async def test_all_hear_of_the_error():
    error = ProviderError("refused")

    assert await outcomes(SharedCalls(), Work(error=error), *["a"] * MANY) == [error] * MANY


async def test_who_gives_up_waiting_takes_nothing_from_the_others():
    calls, work = SharedCalls(), Work()
    first, second, third = (asyncio.create_task(calls.call("a", work)) for _ in range(3))
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.sleep(0)
    work.may_end.set()

    assert await asyncio.gather(first, third) == [1, 1]


async def test_those_who_wait_for_work_that_is_broken_off_are_told_so():
    calls, work = SharedCalls(), Work()
    first, second = (asyncio.create_task(calls.call("a", work)) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()

    with pytest.raises(ProviderError, match="broken off"):
        await second


def test_threads_share_a_call_too():
    calls, may_end, done = SharedCalls(), threading.Event(), []

    def work() -> int:
        done.append(1)
        assert may_end.wait(10)
        return len(done)

    with ThreadPoolExecutor(MANY) as pool:
        waiting = [pool.submit(calls.call_blocking, "a", work) for _ in range(MANY)]
        until(lambda: len(pool._threads) == MANY and pool._work_queue.empty())
        may_end.set()

        assert {future.result(10) for future in waiting} == {1}

import asyncio
import threading
import time
from contextvars import ContextVar
from functools import partial

import pytest

from llmhub.runtime.large_work import HUGE_BYTES, LargeWork, done_beside, stop_large_work

NAME = ContextVar("NAME", default="")


@pytest.fixture
async def large_work():
    work = LargeWork()
    yield work
    work.stop()


async def test_work_is_done_in_another_thread_and_what_it_returns_comes_back(large_work):
    thread = await large_work.do("a", threading.get_ident)

    assert thread != threading.get_ident()


async def test_what_work_raises_is_raised_to_who_wants_it_done_and_others_go_on(large_work):
    with pytest.raises(ZeroDivisionError):
        await large_work.do("a", lambda: 1 / 0)

    assert await large_work.do("a", lambda: 1) == 1


async def test_work_sees_the_context_of_who_wants_it_done(large_work):
    NAME.set("asker")

    assert await large_work.do("a", NAME.get) == "asker"


async def test_one_piece_is_done_at_a_time_and_the_owners_take_turns(large_work):
    done, may_go_on = [], threading.Event()
    pieces = [large_work.do("hog", may_go_on.wait)]
    pieces += [large_work.do("hog", lambda n=n: done.append(f"hog {n}")) for n in range(3)]
    pieces += [large_work.do("other", lambda: done.append("other"))]
    tasks = [asyncio.ensure_future(piece) for piece in pieces]
    await asyncio.sleep(0)

    may_go_on.set()
    await asyncio.gather(*tasks)

    assert done == ["other", "hog 0", "hog 1", "hog 2"] or done == ["hog 0", "other", "hog 1", "hog 2"]


async def test_what_nobody_waits_for_any_more_is_not_done(large_work):
    done, may_go_on = [], threading.Event()
    first = asyncio.ensure_future(large_work.do("a", may_go_on.wait))
    left = asyncio.ensure_future(large_work.do("a", lambda: done.append("left")))
    await asyncio.sleep(0)

    left.cancel()
    may_go_on.set()
    await first
    await large_work.do("a", lambda: done.append("stayed"))

    assert done == ["stayed"]


async def test_the_longer_work_took_the_longer_is_the_rest_after_it():
    rests = []
    for seconds in (0.02, 0.06):
        work = LargeWork()
        await work.do("a", lambda: spin(seconds))  # noqa: B023  (done before the next turn)
        rests.append(work._free_at_s - asyncio.get_running_loop().time())
        work.stop()

    assert rests[1] > 4 * rests[0] > 0


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_what_is_large_does_not_wait_for_what_is_huge():
    may_go_on = threading.Event()
    huge = asyncio.ensure_future(done_beside("a", partial(may_go_on.wait, 10), size_bytes=HUGE_BYTES + 1))

    assert await done_beside("a", lambda: "large", size_bytes=HUGE_BYTES) == "large"

    may_go_on.set()
    assert await huge
    stop_large_work()

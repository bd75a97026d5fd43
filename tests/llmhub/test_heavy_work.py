import asyncio
import threading

import pytest
from structlog.contextvars import bind_contextvars, get_contextvars

from llmhub.heavy_work import done_beside


async def test_the_loop_goes_on_meanwhile():
    begun, go_on = threading.Event(), threading.Event()

    def work():
        begun.set()
        return go_on.wait(10)

    waiting = asyncio.create_task(done_beside(work))
    await asyncio.to_thread(begun.wait, 10)
    go_on.set()

    assert await waiting


async def test_never_more_than_one_piece_is_under_way():
    under_way, most = 0, 0

    def work():
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        threading.Event().wait(0.001)
        under_way -= 1

    await asyncio.gather(*(done_beside(work) for _ in range(50)))

    assert most == 1


async def test_what_it_raises_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal"):
        await done_beside(int, "x")


async def test_what_it_logs_bears_the_same_id():
    bind_contextvars(request_id="one")

    assert (await done_beside(get_contextvars))["request_id"] == "one"

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from llmhub.http.page_limit import PageLimit
from llmhub.http.places import leave_place

WHOLE = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"x", "more_body": True}
START = {"type": "http.response.start", "status": 200, "headers": []}


class Pages:
    """An application that keeps each request until it is told to go on."""

    def __init__(self) -> None:
        self.at_work: list[asyncio.Event] = []
        self.reads_at_leisure = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        self.at_work.append(may_go_on := asyncio.Event())
        await may_go_on.wait()
        if scope["path"] == "/outside":
            leave_place()
            await asyncio.Event().wait()
        await send(START)
        await self.reads_at_leisure.wait()


class Caller:
    def __init__(self, limit: PageLimit, *messages: Any, path: str = "/") -> None:
        self.sent: list[Any] = []
        self._messages = asyncio.Queue[Any]()
        for message in messages or (WHOLE,):
            self._messages.put_nowait(message)
        self.task = asyncio.create_task(limit({"type": "http", "path": path}, self._messages.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.fixture
async def pages() -> Pages:
    return Pages()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_are_at_work_at_once_than_may_be(pages):
    limit = PageLimit(pages, at_work=2)
    callers = [Caller(limit) for _ in range(5)]
    await settled()

    assert len(pages.at_work) == 2

    pages.at_work[0].set()
    await settled()

    assert len(pages.at_work) == 3
    assert callers[0].sent == [START]


async def test_who_waits_outside_or_reads_slowly_keeps_nobody_from_work(pages):
    limit = PageLimit(pages, at_work=1)
    for path in ("/outside", "/slow-reader", "/next"):
        Caller(limit, path=path)
    await settled()
    for _ in range(2):
        pages.at_work[-1].set()
        await settled()

    assert len(pages.at_work) == 3


async def test_a_body_that_is_still_to_come_takes_no_place(pages):
    limit = PageLimit(pages, at_work=1, requests=1)
    Caller(limit, PART)
    await settled()

    Caller(limit)
    await settled()

    assert len(pages.at_work) == 1


@pytest.mark.parametrize("bounds", [{"requests": 1}, {"wait_s": 0.01}], ids=["too-many", "too-long"])
async def test_who_would_wait_too_long_is_told_to_come_again(pages, bounds):
    limit = PageLimit(pages, at_work=1, **bounds)
    Caller(limit)
    await settled()

    refused = Caller(limit)
    await refused.task

    start, body = refused.sent
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"5")
    assert json.loads(body["body"])["error"]["code"] == "busy"


async def test_requests_that_end_or_are_given_up_make_room_for_others(pages):
    limit = PageLimit(pages, at_work=1, requests=2)
    at_work, waiting = Caller(limit), Caller(limit)
    await settled()
    for caller in (waiting, at_work):
        caller.task.cancel()
        await asyncio.wait([caller.task])

    Caller(limit)
    await settled()

    assert len(pages.at_work) == 2

from __future__ import annotations

import asyncio
import json

import pytest

from llmhub.http.body_limit import ANSWER_COPIES, AnswerLimit, BodyLimit
from llmhub.http.guesses import GUESSES
from llmhub.runtime.large_work import LARGE_BYTES
from llmhub.runtime.memory_budget import MemoryBudget

MAX_BYTES = 10
MEMORY_BYTES = 100
KEY = "lh_known_0123456789abcdef"


def is_guess(authorization, x_api_key):
    return (authorization or x_api_key) not in (None, KEY)


class Caller:
    def __init__(self, *chunks: bytes) -> None:
        self.left = [{"type": "http.request", "body": c, "more_body": c is not chunks[-1]} for c in chunks]
        self.sent: list[dict] = []
        self.read: list[dict] = []
        self.body_s = 60.0

    async def receive(self):
        return self.left.pop(0) if self.left else await asyncio.Future()

    async def send(self, message):
        self.sent.append(message)

    async def application(self, scope, receive, send):
        while not self.read or self.read[-1].get("more_body"):
            self.read.append(await receive())

    async def serve_slowly(self, scope, receive, send):
        self.read.append(await receive())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.05)

    async def call(self, **headers: bytes):
        names = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        await self.cap(self.application)(scope_of(*names), self.receive, self.send)

    def cap(self, application):
        return BodyLimit(
            application, MemoryBudget(MEMORY_BYTES), is_guess, max_body_bytes=MAX_BYTES, body_s=self.body_s
        )


def scope_of(*headers, path="/api/providers", address="192.0.2.1"):
    return {"type": "http", "path": path, "headers": headers, "client": (address, 4711)}


async def test_a_body_up_to_the_bound_is_handed_on():
    caller = Caller(b"12345", b"67890")

    await caller.call(content_length=b"10")

    assert b"".join(message["body"] for message in caller.read) == b"1234567890"
    assert caller.sent == []


async def test_a_body_declared_too_large_is_refused_unread():
    caller = Caller(b"12345678901")

    await caller.call(content_length=b"11")

    assert (caller.read, caller.sent[0]["status"]) == ([], 413)
    assert json.loads(caller.sent[1]["body"])["error"]["code"] == "request_too_large"


async def test_a_body_that_grows_too_large_is_refused_where_it_does():
    caller = Caller(b"123456", b"123456", b"never read")

    await caller.call(transfer_encoding=b"chunked")

    assert [message["type"] for message in caller.read] == ["http.request", "http.disconnect"]
    assert caller.sent[0]["status"] == 413
    assert len(caller.left) == 1


async def test_a_body_that_comes_too_slowly_is_refused():
    caller = Caller(b"123", b"456")
    caller.left.pop()
    caller.body_s = 0.01

    await caller.call(transfer_encoding=b"chunked")

    assert [message["type"] for message in caller.read] == ["http.request", "http.disconnect"]
    assert caller.sent[0]["status"] == 408
    assert json.loads(caller.sent[1]["body"])["error"]["code"] == "request_timeout"


async def test_nobody_waits_against_the_clock_once_the_body_is_whole():
    caller = Caller(b"123")
    caller.body_s = 0.01

    await caller.cap(caller.serve_slowly)(scope_of((b"content-length", b"3")), caller.receive, caller.send)

    assert caller.sent == []


async def test_a_request_without_a_body_needs_no_room():
    caller = Caller(b"")

    await caller.call()

    assert (len(caller.read), caller.sent) == (1, [])


async def test_there_is_room_for_others_when_one_address_has_taken_its_share():
    caller = Caller(b"1234567890")
    memory = MemoryBudget(32)
    hog, other = (scope_of((b"content-length", b"10"), address=address) for address in ("192.0.2.1", "192.0.2.2"))
    cap = BodyLimit(caller.application, memory, is_guess, max_body_bytes=MAX_BYTES)
    memory.holding("192.0.2.1").take(12)

    await cap(hog, caller.receive, caller.send)
    refused, caller.sent = caller.sent, []
    await cap(other, caller.receive, caller.send)

    assert refused[0]["status"] == 503
    assert json.loads(refused[1]["body"])["error"]["code"] == "hub_overloaded"
    assert (caller.sent, memory.held_bytes) == ([], 12)


@pytest.fixture
def guessing_address():
    """An address that has shown so many unknown keys that the next one waits."""
    address = "192.0.2.77"
    while not GUESSES.note(address):
        pass
    return address


@pytest.mark.parametrize("header", [(b"authorization", b"Bearer lh_guess"), (b"x-api-key", b"lh_guess")])
async def test_a_guess_too_many_waits_unread_and_never_reaches_django(guessing_address, header):
    caller = Caller(b"x")
    call = caller.cap(caller.application)(scope_of(header, address=guessing_address), caller.receive, caller.send)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0.05)

    assert (caller.read, caller.sent) == ([], [])


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        pytest.param([(b"x-api-key", KEY.encode())], "/api/providers", id="a good key"),
        pytest.param([], "/api/providers", id="no key"),
        pytest.param([(b"x-api-key", b"lh_guess")], "/admin/", id="where no key counts"),
    ],
)
async def test_others_at_the_address_of_a_guesser_do_not_wait(guessing_address, headers, path):
    caller = Caller(b"")

    await caller.cap(caller.application)(
        scope_of(*headers, path=path, address=guessing_address), caller.receive, caller.send
    )

    assert len(caller.read) == 1


async def test_a_guesser_who_leaves_is_not_waited_for(guessing_address):
    caller = Caller()
    caller.left.append({"type": "http.disconnect"})

    await caller.cap(caller.application)(
        scope_of((b"x-api-key", b"lh_guess"), address=guessing_address), caller.receive, caller.send
    )

    assert caller.sent == []


def answering(size_bytes, may_end):
    async def application(scope, receive, send):
        length = (b"Content-Length", b"%d" % size_bytes)
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"x"})
        await may_end.wait()

    return application


async def test_large_answers_that_are_not_taken_share_what_room_there_is():
    size_bytes, may_end = LARGE_BYTES + 1, asyncio.Event()
    memory = MemoryBudget(4 * ANSWER_COPIES * size_bytes)
    cap = AnswerLimit(answering(size_bytes, may_end), memory)
    callers = [Caller() for _ in range(4)]
    addresses = ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")

    async with asyncio.TaskGroup() as tasks:
        for caller, address in zip(callers, addresses, strict=True):
            tasks.create_task(cap(scope_of(address=address), caller.receive, caller.send))
            await asyncio.sleep(0)
        may_end.set()

    assert [caller.sent[0]["status"] for caller in callers] == [200, 200, 503, 200]
    assert json.loads(callers[2].sent[1]["body"])["error"]["code"] == "hub_overloaded"
    assert [len(caller.sent) for caller in callers] == [2, 2, 2, 2]
    assert memory.held_bytes == 0


async def test_small_answers_find_room_always():
    may_end = asyncio.Event()
    may_end.set()
    caller = Caller()

    await AnswerLimit(answering(LARGE_BYTES, may_end), MemoryBudget(1))(scope_of(), caller.receive, caller.send)

    assert caller.sent[0]["status"] == 200

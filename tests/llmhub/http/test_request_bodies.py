import asyncio

import pytest

from llmhub.http.request_bodies import (
    CLOSE_AFTER_ANSWER,
    FIRST_ROOM_BYTES,
    ROOM_PER_BYTE,
    BodyTooLargeError,
    CallerGoneError,
    RequestBody,
    delay_answer,
)
from llmhub.runtime.memory_budget import UNBOUNDED, LargerThanBudgetError, MemoryBudget, MemoryBudgetExceededError

KB = 1024
DISCONNECT = {"type": "http.disconnect"}


class Sender:
    """A caller whose body comes piece by piece, and then nothing more."""

    def __init__(self, *messages, **headers):
        self.left = list(messages)
        self.has_hung_up = False
        names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope = {"headers": names, "extensions": {CLOSE_AFTER_ANSWER: {"now": self.close_after_answer}}}

    def close_after_answer(self):
        self.has_hung_up = True

    async def receive(self):
        return self.left.pop(0) if self.left else await asyncio.Future()

    def body(self, **options):
        return RequestBody(self.scope, self.receive, **{"max_bytes": 1024 * KB, **options})


def pieces(*sizes):
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": n < len(sizes)} for n, size in enumerate(sizes, 1)
    ]


async def test_room_is_held_for_what_was_declared_before_anything_is_read():
    sender = Sender(*pieces(100 * KB), content_length=str(100 * KB))
    budget = MemoryBudget(1024 * KB)
    with budget.holding("a") as holding:
        assert len(await sender.body().read(holding)) == 100 * KB

        assert budget.held_bytes == FIRST_ROOM_BYTES + ROOM_PER_BYTE * 100 * KB
    assert budget.held_bytes == 0


async def test_room_grows_with_a_body_that_declared_nothing():
    sender = Sender(*pieces(*[50 * KB] * 10))
    budget = MemoryBudget(4096 * KB)
    holding = budget.holding("a")

    assert len(await sender.body().read(holding)) == 500 * KB

    assert ROOM_PER_BYTE * 450 * KB <= budget.held_bytes <= ROOM_PER_BYTE * 900 * KB


async def test_nothing_is_read_of_a_body_that_there_is_no_room_for():
    sender = Sender(*pieces(100 * KB), content_length=str(100 * KB))
    budget = MemoryBudget(800 * KB)
    budget.holding("a").take(300 * KB)

    with pytest.raises(MemoryBudgetExceededError):
        await sender.body(body_s=0.01).read(budget.holding("a"))

    assert len(sender.left) == 1
    assert budget.held_bytes == 300 * KB


async def test_nothing_is_read_of_a_body_for_which_there_never_will_be_room():
    sender = Sender(*pieces(100 * KB), content_length=str(100 * KB))

    with pytest.raises(LargerThanBudgetError):
        await sender.body().read(MemoryBudget(700 * KB).holding("a"))

    assert len(sender.left) == 1


async def test_a_body_waits_unread_until_another_gives_its_room_back():
    first, sender = (
        Sender(*pieces(100 * KB), content_length=str(100 * KB)),
        Sender(*pieces(100), content_length="102400"),
    )
    budget = MemoryBudget(800 * KB)
    with budget.holding("a") as holding:
        await first.body().read(holding)
        waiting = asyncio.create_task(sender.body().read(budget.holding("a")))
        await asyncio.sleep(0)
        assert (waiting.done(), len(sender.left)) == (False, 1)

    assert len(await waiting) == 100


async def test_the_end_of_a_body_that_grows_without_an_end_is_the_bound():
    sender = Sender(*pieces(*[600 * KB] * 3))

    with pytest.raises(BodyTooLargeError):
        await sender.body().read(UNBOUNDED)

    assert len(sender.left) == 1


@pytest.mark.parametrize("declared", ["", "204800"])
async def test_a_caller_who_leaves_amid_a_body_is_told_from_one_who_is_done(declared):
    sender = Sender(*pieces(100, 100)[:1], DISCONNECT, content_length=declared)
    body = sender.body()

    with pytest.raises(CallerGoneError):
        await body.read(UNBOUNDED)

    assert not body.is_read


async def test_who_is_held_up_is_answered_when_the_time_is_over_however_much_comes():
    sender = Sender(*pieces(*[1024 * KB] * 4))

    await delay_answer(sender.scope, sender.receive, seconds=0.02)

    assert sender.has_hung_up


async def test_who_leaves_while_held_up_is_gone_at_once():
    sender = Sender(*pieces(1, 1), DISCONNECT)

    with pytest.raises(CallerGoneError):
        await delay_answer(sender.scope, sender.receive, seconds=60)

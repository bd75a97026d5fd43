import asyncio
from contextlib import suppress

import pytest

from llmhub.runtime.memory_budget import (
    MAX_WAITING,
    MB,
    LargerThanBudgetError,
    MemoryBudget,
    MemoryBudgetExceededError,
)

SOON_S = 0.01
LONG_S = 60.0


def test_an_owner_may_hold_as_much_as_is_left_for_others():
    budget = MemoryBudget(100)
    holding = budget.holding("a")

    holding.take(50)

    with pytest.raises(MemoryBudgetExceededError):
        holding.take(1)
    assert budget.held_bytes == 50


def test_holdings_of_one_owner_count_together():
    budget = MemoryBudget(100)
    budget.holding("a").take(40)

    with pytest.raises(MemoryBudgetExceededError):
        budget.holding("a").take(11)


def test_another_owner_finds_room_however_much_the_first_wants():
    budget = MemoryBudget(1000)
    for owner in "abcdef":
        holding = budget.holding(owner)
        with suppress(MemoryBudgetExceededError):
            while True:
                holding.take(1)
        assert holding.size_bytes > 0
    assert budget.held_bytes < 1000


def test_what_is_refused_takes_nothing():
    budget = MemoryBudget(100)

    with pytest.raises(MemoryBudgetExceededError):
        budget.holding("a").take(51)

    assert budget.held_bytes == 0


def test_a_part_can_be_given_back_and_the_end_gives_back_the_rest():
    budget = MemoryBudget(100)
    with budget.holding("a") as holding:
        holding.take(40)
        holding.give_back(10)
        assert budget.held_bytes == 30

    assert budget.held_bytes == 0


def test_what_is_given_back_twice_counts_once():
    budget = MemoryBudget(100)
    budget.holding("b").take(10)
    holding = budget.holding("a")
    holding.take(10)

    holding.give_back(25)
    holding.give_back()

    assert budget.held_bytes == 10


async def test_who_waits_is_let_in_when_there_is_room_again():
    budget = MemoryBudget(100)
    first, second = budget.holding("a"), budget.holding("a")
    first.take(50)
    waiting = asyncio.create_task(second.take_when_free(30, timeout_s=LONG_S))
    await asyncio.sleep(0)

    assert not waiting.done()
    first.give_back(30)
    await waiting

    assert (first.size_bytes, second.size_bytes, budget.held_bytes) == (20, 30, 50)


async def test_what_an_owner_may_never_hold_is_refused_at_once():
    budget = MemoryBudget(100 * MB)
    holding = budget.holding("a")
    holding.take(30 * MB)

    with pytest.raises(LargerThanBudgetError, match=r"takes 51 MB of memory .* of at most 50 MB"):
        await holding.take_when_free(20 * MB + 1, timeout_s=LONG_S)

    assert budget.held_bytes == 30 * MB


async def test_who_holds_something_and_wants_more_comes_before_those_who_hold_nothing():
    budget = MemoryBudget(100)
    first, second = budget.holding("a"), budget.holding("a")
    first.take(20)
    second.take(20)
    newcomer = asyncio.create_task(budget.holding("a").take_when_free(20, timeout_s=LONG_S))
    more = asyncio.create_task(second.take_when_free(30, timeout_s=LONG_S))
    await asyncio.sleep(0)

    first.give_back()
    await more
    await asyncio.sleep(0)

    assert (second.size_bytes, newcomer.done()) == (50, False)
    newcomer.cancel()


async def test_who_waits_too_long_is_refused_and_holds_nothing():
    budget = MemoryBudget(100)
    budget.holding("a").take(50)
    late = budget.holding("a")

    with pytest.raises(MemoryBudgetExceededError):
        await late.take_when_free(30, timeout_s=SOON_S)

    assert (late.size_bytes, budget.held_bytes) == (0, 50)


async def test_who_no_longer_waits_leaves_nothing_behind():
    budget = MemoryBudget(100)
    first = budget.holding("a")
    first.take(50)
    waiting = asyncio.create_task(budget.holding("a").take_when_free(30, timeout_s=LONG_S))
    await asyncio.sleep(0)

    first.give_back()  # the room is granted to whom is cancelled before hearing of it
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert budget.held_bytes == 0
    budget.holding("a").take(50)


async def test_one_owner_does_not_wait_behind_another():
    budget = MemoryBudget(100)
    hog = budget.holding("hog")
    hog.take(50)
    waiting = [asyncio.create_task(budget.holding("hog").take_when_free(50, timeout_s=LONG_S)) for _ in range(20)]
    await asyncio.sleep(0)

    await budget.holding("other").take_when_free(25, timeout_s=LONG_S)

    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


async def test_those_of_one_owner_are_let_in_as_they_came():
    budget = MemoryBudget(100)
    first = budget.holding("a")
    first.take(50)
    let_in: list[int] = []

    async def wait(number: int) -> None:
        with budget.holding("a") as holding:
            await holding.take_when_free(50, timeout_s=LONG_S)
            let_in.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    first.give_back()
    await asyncio.gather(*waiting)

    assert let_in == [0, 1, 2]
    assert budget.held_bytes == 0


async def test_a_small_one_passes_large_ones_that_wait():
    budget = MemoryBudget(100)
    budget.holding("a").take(30)
    large = asyncio.create_task(budget.holding("a").take_when_free(40, timeout_s=LONG_S))
    await asyncio.sleep(0)

    await budget.holding("a").take_when_free(1, timeout_s=LONG_S)

    assert not large.done()
    large.cancel()


async def test_only_so_many_of_one_owner_wait():
    budget = MemoryBudget(100)
    budget.holding("a").take(50)
    waiting = [asyncio.create_task(budget.holding("a").take_when_free(1, timeout_s=LONG_S)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)

    with pytest.raises(MemoryBudgetExceededError):
        await budget.holding("a").take_when_free(1, timeout_s=LONG_S)

    await budget.holding("b").take_when_free(1, timeout_s=LONG_S)
    for task in waiting:
        task.cancel()


async def test_who_holds_something_is_let_in_before_who_begins():
    budget = MemoryBudget(100)
    begun, other = budget.holding("a"), budget.holding("a")
    begun.take(10)
    other.take(40)
    new = asyncio.create_task(budget.holding("a").take_when_free(30, timeout_s=LONG_S))
    await asyncio.sleep(0)
    more = asyncio.create_task(begun.take_when_free(30, timeout_s=LONG_S))
    await asyncio.sleep(0)

    other.give_back()
    await more

    assert (begun.size_bytes, new.done()) == (40, False)
    new.cancel()


async def test_nothing_finds_room_always():
    budget = MemoryBudget(100)
    holding = budget.holding("a")
    holding.take(50)
    budget.holding("b").take(25)

    holding.take(0)
    await holding.take_when_free(0, timeout_s=SOON_S)

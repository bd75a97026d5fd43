import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from providers.attempts import AttemptLog
from providers.errors import (
    ProviderError,
    TruncatedReplyError,
    UpstreamError,
)
from providers.manager import is_content
from providers.types import PartDelta, ReplyStarted
from tests import fakes
from tests.fakes import FakeProvider
from tests.providers.asking import BOTH_WAYS, HELLO, cancelled, collect, in_thread, streamed, text_of, tried
from tests.providers.wire.assembling import assembled


@BOTH_WAYS
async def test_a_cancelled_chat_hangs_up_and_is_noted(two, manager, first, second, ask):
    first.fail(fakes.stall_before_headers())
    journey = AttemptLog()

    await cancelled(asyncio.create_task(ask(manager, journey=journey)), first)

    assert tried(journey) == [("first", "fake-large", "Cancelled")]
    assert await asyncio.to_thread(first.hung_up.wait, 1)
    assert second.chats == []


async def test_the_attempt_under_way_counts(two, manager, first):
    first.fail(fakes.status(500), fakes.stall_before_headers())
    journey = AttemptLog()
    plan = manager.plan(HELLO, provider="first")
    task = asyncio.create_task(manager.chat(HELLO, plan=plan, journey=journey))
    with pytest.raises(UpstreamError):
        await task

    task = asyncio.create_task(manager.chat(HELLO, plan=plan, journey=journey))
    await asyncio.to_thread(first.stalled.wait, 5)

    assert (journey.attempt_count, len(journey.attempts)) == (2, 1)
    assert journey.upstream_s > journey.past_upstream_s
    task.cancel()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fakes.cut_after(0), id="cut-after-the-head"),
        pytest.param(fakes.cut_after(1), id="cut-after-the-role"),
        pytest.param(fakes.end_after(1), id="ended-after-the-role"),
        pytest.param(fakes.error_frame_after(1), id="error-after-the-role"),
        pytest.param(fakes.empty_stream(), id="empty"),
        pytest.param(fakes.garbage(), id="garbage"),
    ],
)
async def test_a_stream_that_fails_before_any_content_goes_to_the_next(two, manager, first, second, fault):
    first.fail(fault)
    journey = AttemptLog()

    deltas = await streamed(manager, journey=journey)

    assert text_of(deltas) == "The second answers."
    assert [attempt.ok for attempt in journey.attempts] == [False, True]
    assert (len(first.chats), len(second.chats)) == (1, 1)
    assert deltas == await streamed(manager, plan=manager.plan(HELLO, provider="second"))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(fakes.cut_after(3), UpstreamError, id="cut"),
        pytest.param(fakes.end_after(3), TruncatedReplyError, id="ended"),
        pytest.param(fakes.error_frame_after(3), ProviderError, id="error"),
    ],
)
async def test_a_stream_that_fails_after_content_is_broken_and_not_begun_anew(
    two, manager, first, second, fault, error
):
    first.fail(fault)
    journey, got = AttemptLog(), []

    with pytest.raises(error):
        await collect(manager.stream_chat(HELLO, journey=journey), got)

    assert text_of(got) == "The first"
    assert [(attempt.provider, attempt.ok) for attempt in journey.attempts] == [("first", False)]
    assert (len(first.chats), len(second.chats)) == (1, 0)


async def test_what_comes_before_the_first_content_is_held_and_not_lost(two, manager):
    through_manager = await streamed(manager, plan=manager.plan(HELLO, provider="first"))

    straight = []
    await collect(manager.get_provider("first").stream_chat(replace(HELLO, model_name="fake-large")), straight)

    assert through_manager == straight
    assert [is_content(delta) for delta in through_manager][:3] == [False, False, True]


async def test_nothing_is_passed_on_before_there_is_content(two, manager, first):
    first.fail(fakes.stall_after(1))
    stream = manager.stream_chat(HELLO)
    beginning = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(first.stalled.wait, 5)

    assert not beginning.done()

    first.release()
    assert isinstance(await beginning, ReplyStarted)
    await stream.aclose()


async def test_a_stream_without_any_content_is_an_answer_all_the_same(config, manager, second):
    with FakeProvider("custom", text="", finish_reason="content_filter") as silent:
        await in_thread(config.add, "silent", silent, priority=1)
        await in_thread(config.add, "second", second, priority=2)
        journey = AttemptLog()

        deltas = await streamed(manager, journey=journey)

    answer = assembled(deltas)
    assert (answer.content, answer.finish_reason) == ("", "content_filter")
    assert tried(journey) == [("silent", "fake-large", "")]


async def test_a_stream_that_nobody_reads_on_hangs_up_and_is_noted(two, manager, first):
    first.fail(fakes.stall_after(3))
    journey = AttemptLog()

    async with aclosing(manager.stream_chat(HELLO, journey=journey)) as deltas:
        async for delta in deltas:
            if delta == PartDelta(0, 0, " first"):
                break

    assert await asyncio.to_thread(first.hung_up.wait, 1)
    assert tried(journey) == [("first", "fake-large", "Cancelled")]


async def test_a_stream_read_to_its_end_is_noted_as_one_success(two, manager):
    journey = AttemptLog()

    await streamed(manager, journey=journey)

    assert [(attempt.provider, attempt.ok) for attempt in journey.attempts] == [("first", True)]

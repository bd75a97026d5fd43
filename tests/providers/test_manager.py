import asyncio
import secrets
import threading
from contextlib import aclosing
from functools import partial

import pytest
from django.db import connection

from providers.errors import (
    ConfigurationError,
    ContextTooLongError,
    CredentialRejectedError,
    NoProviderError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
    RequestRejectedError,
    TruncatedReplyError,
    UpstreamError,
)
from providers.journey import Journey
from providers.manager import ProviderManager, get_provider_manager
from providers.models import ProviderConfig
from providers.types import ChatMessage, ChatRequest
from tests import fakes
from tests.fakes import FakeProvider

HELLO = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),))
KEY = "sk-canary-of-the-tests"


@pytest.fixture
def first():
    with FakeProvider("custom", text="The first answers.") as fake:
        yield fake


@pytest.fixture
def second():
    with FakeProvider("custom", text="The second answers.") as fake:
        yield fake


@pytest.fixture
def two(config, first, second):
    """Two providers, the first of which is asked before the second."""
    config.add("first", first, default_model="fake-large", priority=1)
    config.add("second", second, default_model="fake-small", priority=2)
    return config


@pytest.fixture
async def manager(config):
    manager = ProviderManager(config.registry)
    yield manager
    await manager.close_all()


async def in_thread(work, *args, **kwargs):
    """Do what uses the ORM."""

    def do():
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(do)


def tried(journey):
    return [(attempt.provider, attempt.model_name, attempt.error_type) for attempt in journey.attempts]


async def collect(stream, got):
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            got += [chunk]


async def streamed(manager, **options):
    got = []
    await collect(manager.stream_chat(HELLO, **options), got)
    return got


def text_of(chunks):
    return "".join(choice.content or "" for chunk in chunks for choice in chunk.choices)


async def whole_text(manager, **options):
    return (await manager.chat(HELLO, **options)).content


async def streamed_text(manager, **options):
    return text_of(await streamed(manager, **options))


BOTH_WAYS = pytest.mark.parametrize("ask", [whole_text, streamed_text])


@BOTH_WAYS
async def test_the_first_that_answers_is_the_only_one_asked(two, manager, first, second, ask):
    journey = Journey()

    assert await ask(manager, journey=journey) == "The first answers."

    assert tried(journey) == [("first", "fake-large", "")]
    assert (journey.provider, journey.model_name) == ("first", "fake-large")
    assert (len(first.chats), len(second.chats)) == (1, 0)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        pytest.param(fakes.status(500), "UpstreamError", id="500"),
        pytest.param(fakes.status(503), "OverloadedError", id="503"),
        pytest.param(fakes.status(429), "RateLimitedError", id="429"),
        pytest.param(fakes.status(401), "CredentialRejectedError", id="401"),
        pytest.param(fakes.status(404), "ModelNotServedError", id="404"),
        pytest.param(fakes.cut_before_headers(), "UpstreamError", id="cut"),
        pytest.param(fakes.error_in_200(), "UpstreamError", id="error-in-200"),
        pytest.param(fakes.wrong_content_type(), "MalformedReplyError", id="html"),
    ],
)
async def test_when_one_fails_the_next_is_asked_once(two, manager, first, second, ask, fault, error_type):
    first.fail(fault)
    journey = Journey()

    assert await ask(manager, journey=journey) == "The second answers."

    assert tried(journey) == [("first", "fake-large", error_type), ("second", "fake-small", "")]
    assert (journey.provider, journey.model_name) == ("second", "fake-small")
    assert (len(first.chats), len(second.chats)) == (1, 1)


@BOTH_WAYS
async def test_when_one_cannot_be_reached_the_next_is_asked(config, manager, second, ask):
    await in_thread(config.add, "first", base_url="http://127.0.0.1:9/v1", priority=1)
    await in_thread(config.add, "second", second, priority=2)
    journey = Journey()

    assert await ask(manager, journey=journey) == "The second answers."

    assert tried(journey) == [("first", "fake-large", "UnreachableError"), ("second", "fake-large", "")]


async def test_each_candidate_is_asked_for_its_own_model(two, manager, first, second):
    first.fail(fakes.status(500))

    await manager.chat(HELLO)

    assert [chat.json["model"] for chat in (*first.chats, *second.chats)] == ["fake-large", "fake-small"]


@BOTH_WAYS
@pytest.mark.parametrize("code", [400, 422])
async def test_a_request_at_fault_is_no_reason_to_ask_another(two, manager, first, second, ask, code):
    first.fail(fakes.status(code))
    journey = Journey()

    with pytest.raises(RequestRejectedError, match="Scripted failure") as failed:
        await ask(manager, journey=journey)

    assert failed.value.attempts == tuple(journey.attempts)
    assert tried(journey) == [("first", "fake-large", "RequestRejectedError")]
    assert (len(first.chats), len(second.chats)) == (1, 0)


@BOTH_WAYS
async def test_who_wants_no_fallback_gets_the_failure_of_the_first(two, manager, first, second, ask):
    first.fail(fakes.status(503))

    with pytest.raises(OverloadedError):
        await ask(manager, failover=False)

    assert (len(first.chats), len(second.chats)) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda config: config.change("first", enabled=False), id="disabled"),
        pytest.param(lambda config: config.change("first", name="renamed"), id="gone"),
    ],
)
async def test_a_provider_that_is_switched_off_meanwhile_is_not_asked(two, manager, first, change):
    plan, journey = manager.plan(), Journey()

    await in_thread(change, two)

    assert await whole_text(manager, plan=plan, journey=journey) == "The second answers."
    assert tried(journey) == [("first", "fake-large", "ConfigurationError"), ("second", "fake-small", "")]
    assert journey.attempts[0].error == "The provider was switched off meanwhile."
    assert first.requests == []


async def test_a_provider_that_moves_meanwhile_is_asked_at_its_new_address(two, manager, first, second):
    plan = manager.plan()

    await in_thread(two.change, "first", base_url=second.url)

    assert await whole_text(manager, plan=plan) == "The second answers."
    assert first.requests == []


@BOTH_WAYS
async def test_a_provider_whose_key_cannot_be_decrypted_is_passed_over(two, manager, first, ask):
    await in_thread(two.execute, "UPDATE providers_providerconfig SET api_key = 'rubbish' WHERE name = 'first'")
    await in_thread(two.wait_for, lambda snapshot: snapshot.providers["first"].api_key)
    journey = Journey()

    assert await ask(manager, journey=journey) == "The second answers."

    assert "cannot be decrypted: enter it again" in journey.attempts[0].error
    assert first.requests == []
    with pytest.raises(ConfigurationError, match="LLMHUB_SECRET_KEYS"):
        manager.get_provider("first")


async def test_an_attempt_tells_what_the_provider_answered(two, manager, first):
    first.fail(fakes.status(503, "Out of breath.", x_request_id="up-1"))
    journey = Journey()

    await manager.chat(HELLO, journey=journey)

    failed, succeeded = journey.attempts
    assert (failed.ok, failed.error, failed.upstream_status) == (False, "Out of breath.", 503)
    assert failed.upstream_request_id == "up-1"
    assert (succeeded.ok, succeeded.error, succeeded.upstream_status) == (True, "", None)
    assert 0 <= succeeded.latency_ms < 5000
    assert journey.upstream_s > 0
    assert journey.attempt_count == 2


@BOTH_WAYS
async def test_when_all_fail_each_is_listed_with_its_reason(two, manager, first, second, ask):
    first.fail(fakes.status(500, "First is ill."))
    second.fail(fakes.status(429, "Second is busy.", retry_after="7"))

    with pytest.raises(NoProviderError) as failed:
        await ask(manager)

    assert str(failed.value) == "All 2 providers failed. first: First is ill.; second: Second is busy."
    assert failed.value.retry_after_s == 7
    assert [attempt.provider for attempt in failed.value.attempts] == ["first", "second"]
    assert (len(first.chats), len(second.chats)) == (1, 1)


@BOTH_WAYS
async def test_when_all_are_busy_the_caller_waits_for_the_one_that_is_free_first(two, manager, first, second, ask):
    first.fail(fakes.status(429, retry_after="30"))
    second.fail(fakes.status(429, retry_after="4"))

    with pytest.raises(RateLimitedError, match="All 2 providers failed") as failed:
        await ask(manager)

    assert failed.value.retry_after_s == 4


async def test_when_all_are_busy_and_nobody_says_how_long_nothing_is_said(two, manager, first, second):
    first.fail(fakes.status(429))
    second.fail(fakes.status(429))

    with pytest.raises(RateLimitedError) as failed:
        await manager.chat(HELLO)

    assert failed.value.retry_after_s is None


async def test_when_the_only_candidate_fails_its_failure_is_told_as_it_is(two, manager, second):
    second.fail(fakes.status(401, "Who are you?"))

    with pytest.raises(CredentialRejectedError, match=r"^Who are you\?$") as failed:
        await manager.chat(HELLO, plan=manager.plan(provider="second"))

    assert [attempt.error_type for attempt in failed.value.attempts] == ["CredentialRejectedError"]


async def test_when_the_last_refuses_the_request_itself_that_is_told(two, manager, first, second):
    first.fail(fakes.status(500))
    second.fail(fakes.status(400, "This model's maximum context length is 8 tokens."))

    with pytest.raises(ContextTooLongError) as failed:
        await manager.chat(HELLO)

    assert [attempt.error_type for attempt in failed.value.attempts] == ["UpstreamError", "ContextTooLongError"]


async def test_a_provider_at_the_limit_of_its_row_is_not_asked(config, manager, second):
    name = f"limited-{secrets.token_hex(4)}"  # its minute is counted in a Redis that other tests share
    with FakeProvider("custom") as limited:
        await in_thread(config.add, name, limited, rate_limit=1, priority=1)
        await in_thread(config.add, "second", second, priority=2)
        await manager.chat(HELLO)
        journey = Journey()

        assert await whole_text(manager, journey=journey) == "The second answers."

        assert tried(journey)[0] == (name, "fake-large", "RateLimitedError")
        assert len(limited.chats) == 1


@BOTH_WAYS
async def test_no_failure_shows_the_key(config, manager, ask, caplog):
    with FakeProvider("custom", api_key="another") as fake:
        await in_thread(config.add, "acme", fake, api_key=KEY)

        with pytest.raises(CredentialRejectedError) as failed:
            await ask(manager)

    assert fake.chats[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{failed.value!r} {failed.value.attempts!r} {manager.get_provider('acme').endpoint!r}"
    assert KEY not in caplog.text


async def cancelled(task, fake):
    await asyncio.to_thread(fake.stalled.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@BOTH_WAYS
async def test_a_cancelled_chat_hangs_up_and_is_noted(two, manager, first, second, ask):
    first.fail(fakes.stall_before_headers())
    journey = Journey()

    await cancelled(asyncio.create_task(ask(manager, journey=journey)), first)

    assert tried(journey) == [("first", "fake-large", "Cancelled")]
    assert await asyncio.to_thread(first.hung_up.wait, 1)
    assert second.chats == []


async def test_the_attempt_under_way_counts(two, manager, first):
    first.fail(fakes.status(500), fakes.stall_before_headers())
    journey = Journey()
    plan = manager.plan(provider="first")
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
    journey = Journey()

    chunks = await streamed(manager, journey=journey)

    assert text_of(chunks) == "The second answers."
    assert [attempt.ok for attempt in journey.attempts] == [False, True]
    assert (len(first.chats), len(second.chats)) == (1, 1)
    assert len(chunks) == len(await streamed(manager, plan=manager.plan(provider="second")))


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
    journey, got = Journey(), []

    with pytest.raises(error):
        await collect(manager.stream_chat(HELLO, journey=journey), got)

    assert text_of(got) == "The first"
    assert [(attempt.provider, attempt.ok) for attempt in journey.attempts] == [("first", False)]
    assert (len(first.chats), len(second.chats)) == (1, 0)


async def test_what_comes_before_the_first_content_is_held_and_not_lost(two, manager):
    through_manager = await streamed(manager, plan=manager.plan(provider="first"))

    straight = []
    await collect(manager.get_provider("first").stream_chat(HELLO), straight)

    assert [chunk.choices for chunk in through_manager] == [chunk.choices for chunk in straight]
    assert [chunk.has_content for chunk in through_manager][:2] == [False, True]


async def test_nothing_is_passed_on_before_there_is_content(two, manager, first):
    first.fail(fakes.stall_after(1))
    stream = manager.stream_chat(HELLO)
    beginning = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(first.stalled.wait, 5)

    assert not beginning.done()

    first.release()
    chunk = await beginning
    assert not chunk.has_content
    await stream.aclose()


async def test_a_stream_without_any_content_is_an_answer_all_the_same(config, manager, second):
    with FakeProvider("custom", text="", finish_reason="content_filter") as silent:
        await in_thread(config.add, "silent", silent, priority=1)
        await in_thread(config.add, "second", second, priority=2)
        journey = Journey()

        chunks = await streamed(manager, journey=journey)

    assert text_of(chunks) == ""
    assert "content_filter" in {choice.finish_reason for chunk in chunks for choice in chunk.choices}
    assert tried(journey) == [("silent", "fake-large", "")]


async def test_a_stream_that_nobody_reads_on_hangs_up_and_is_noted(two, manager, first):
    first.fail(fakes.stall_after(3))
    journey = Journey()

    async with aclosing(manager.stream_chat(HELLO, journey=journey)) as chunks:
        async for chunk in chunks:
            if text_of([chunk]) == " first":
                break

    assert await asyncio.to_thread(first.hung_up.wait, 1)
    assert tried(journey) == [("first", "fake-large", "Cancelled")]


async def test_a_stream_read_to_its_end_is_noted_as_one_success(two, manager):
    journey = Journey()

    await streamed(manager, journey=journey)

    assert [(attempt.provider, attempt.ok) for attempt in journey.attempts] == [("first", True)]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"priority": 9}, id="priority"),
        pytest.param({"default_model": "other"}, id="model"),
        pytest.param({"rate_limit": 5}, id="limit"),
        pytest.param({"health": "unhealthy"}, id="health"),
    ],
)
async def test_what_does_not_concern_the_connection_leaves_a_backend_as_it_is(two, manager, fields):
    backend = manager.get_provider("first")

    await in_thread(two.change, "first", **fields)

    assert manager.get_provider("first") is backend


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"base_url": "http://127.0.0.1:9/v2"}, id="address"),
        pytest.param({"api_key": KEY}, id="key"),
        pytest.param({"timeout": 9}, id="timeout"),
        pytest.param({"settings": {"strict_models": True}}, id="settings"),
        pytest.param({"provider_type": "ollama"}, id="type"),
    ],
)
async def test_a_backend_is_made_anew_when_its_connection_is_configured_otherwise(two, manager, fields):
    backend = manager.get_provider("first")
    other = manager.get_provider("second")

    await in_thread(two.change, "first", **fields)

    assert manager.get_provider("first") is not backend
    assert manager.get_provider("first") is manager.get_provider("first")
    assert manager.get_provider("second") is other


async def test_nobody_gives_out_a_provider_that_is_not_there(two, manager):
    with pytest.raises(NoProviderError, match="There is no provider named `third`"):
        manager.get_provider("third")


def test_event_loops_do_not_share_connections_and_do_not_disturb_each_other(two, first):
    manager = ProviderManager(two.registry)
    both_are_in = threading.Barrier(2, timeout=5)
    backends, answers = [], []

    async def work():
        backends.append(manager.get_provider("first"))
        await manager.chat(HELLO)
        both_are_in.wait()
        answers.append(await whole_text(manager))
        await manager.close_all()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["The first answers."] * 2
    assert backends[0] is not backends[1]
    assert len(first.chats) == 4


async def test_a_manager_that_was_closed_connects_anew_when_it_is_asked(two, manager, first):
    await manager.chat(HELLO)

    await manager.close_all()
    await manager.close_all()

    assert await whole_text(manager) == "The first answers."
    assert first.connections == 2


async def test_one_connection_serves_many_chats_in_turn(two, manager, first):
    for _ in range(3):
        await manager.chat(HELLO)

    assert first.connections == 1


async def test_many_cancelled_chats_leave_room_for_the_next(two, manager, first):
    first.always = fakes.stall_before_headers()
    tasks = [asyncio.create_task(manager.chat(HELLO)) for _ in range(100)]
    await asyncio.to_thread(first.stalled.wait, 5)

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    first.always = None
    assert await whole_text(manager) == "The first answers."


def test_models_are_told_from_memory(config, first):
    config.add("acme", first, models=("small", "large"), is_default=True)
    config.add("other")
    config.execute("UPDATE providers_providermodel SET available = false WHERE name = 'small'")
    config.wait_for(lambda snapshot: not snapshot.providers["acme"].models["small"].available)

    assert ProviderManager(config.registry).list_all_models() == {"acme": ["large"], "other": []}
    assert first.requests == []


def test_the_status_of_every_provider_is_told_from_memory(config, first):
    config.add("acme", first, is_default=True, health="healthy")
    config.add("other", provider_type="ollama", enabled=False)

    assert ProviderManager(config.registry).get_status() == {
        "default_provider": "acme",
        "providers": {
            "acme": {"type": "custom", "enabled": True, "health": "healthy"},
            "other": {"type": "ollama", "enabled": False, "health": "unknown"},
        },
    }
    assert first.requests == []


def test_the_first_provider_registered_becomes_the_default_and_the_next_does_not(config, first):
    manager = ProviderManager(config.registry)
    register = partial(manager.register_provider, provider_type="custom", base_url=first.url)

    registered = [register("a"), register("b"), register("a", priority=5)]

    assert [(row.name, row.is_default, is_new) for row, is_new in registered] == [
        ("a", True, True),
        ("b", False, True),
        ("a", True, False),
    ]


def test_the_default_moves_when_it_is_set_and_when_it_is_removed(two):
    manager = ProviderManager(two.registry)
    manager.set_default("second")
    two.wait_for(lambda snapshot: snapshot.default_provider == "second")

    manager.remove_provider("second")

    two.wait_for(lambda snapshot: snapshot.default_provider == "first")


@pytest.mark.parametrize("work", ["set_default", "remove_provider"])
def test_what_is_not_there_can_be_neither_default_nor_removed(config, work):
    with pytest.raises(ProviderConfig.DoesNotExist):
        getattr(ProviderManager(config.registry), work)("never-heard-of")


def test_a_process_has_one_manager():
    assert get_provider_manager() is get_provider_manager()

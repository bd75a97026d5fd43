import secrets
from functools import partial

import pytest

from providers.attempts import AttemptLog
from providers.errors import (
    ConfigurationError,
    ContextTooLongError,
    CredentialRejectedError,
    NoProviderError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
)
from providers.manager import ProviderManager, get_provider_manager
from providers.models import ProviderConfig
from tests import fakes
from tests.fakes import FakeProvider
from tests.providers.asking import BOTH_WAYS, HELLO, KEY, in_thread, tried, whole_text


@BOTH_WAYS
async def test_the_first_that_answers_is_the_only_one_asked(two, manager, first, second, ask):
    journey = AttemptLog()

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
    journey = AttemptLog()

    assert await ask(manager, journey=journey) == "The second answers."

    assert tried(journey) == [("first", "fake-large", error_type), ("second", "fake-small", "")]
    assert (journey.provider, journey.model_name) == ("second", "fake-small")
    assert (len(first.chats), len(second.chats)) == (1, 1)


@BOTH_WAYS
async def test_when_one_cannot_be_reached_the_next_is_asked(config, manager, second, ask):
    await in_thread(config.add, "first", base_url="http://127.0.0.1:9/v1", priority=1)
    await in_thread(config.add, "second", second, priority=2)
    journey = AttemptLog()

    assert await ask(manager, journey=journey) == "The second answers."

    assert tried(journey) == [("first", "fake-large", "UnreachableError"), ("second", "fake-large", "")]


async def test_each_candidate_is_asked_for_its_own_model(two, manager, first, second):
    first.fail(fakes.status(500))

    await manager.chat(HELLO)

    assert [chat.json["model"] for chat in (*first.chats, *second.chats)] == ["fake-large", "fake-small"]


async def test_what_was_held_of_an_answer_that_failed_is_given_back(two, manager, first):
    first.fail(fakes.pieces(b" " * 2_000_000, b"no JSON"))
    charged = []

    await manager.chat(HELLO, charge=charged.append)

    assert max(charged) > 0
    assert sum(charged) == 0


@BOTH_WAYS
@pytest.mark.parametrize("code", [400, 422])
async def test_a_request_at_fault_is_no_reason_to_ask_another(two, manager, first, second, ask, code):
    first.fail(fakes.status(code))
    journey = AttemptLog()

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
    plan, journey = manager.plan(HELLO), AttemptLog()

    await in_thread(change, two)

    assert await whole_text(manager, plan=plan, journey=journey) == "The second answers."
    assert tried(journey) == [("first", "fake-large", "ConfigurationError"), ("second", "fake-small", "")]
    assert journey.attempts[0].error == "The provider was switched off meanwhile."
    assert first.requests == []


async def test_a_provider_that_moves_meanwhile_is_asked_at_its_new_address(two, manager, first, second):
    plan = manager.plan(HELLO)

    await in_thread(two.change, "first", base_url=second.url)

    assert await whole_text(manager, plan=plan) == "The second answers."
    assert first.requests == []


@BOTH_WAYS
async def test_a_provider_whose_key_cannot_be_decrypted_is_passed_over(two, manager, first, ask):
    await in_thread(two.execute, "UPDATE providers_providerconfig SET api_key = 'rubbish' WHERE name = 'first'")
    await in_thread(two.wait_for, lambda snapshot: snapshot.providers["first"].api_key)
    journey = AttemptLog()

    assert await ask(manager, journey=journey) == "The second answers."

    assert "cannot be decrypted: enter it again" in journey.attempts[0].error
    assert first.requests == []
    with pytest.raises(ConfigurationError, match="LLMHUB_SECRET_KEYS"):
        manager.get_provider("first")


async def test_an_attempt_tells_what_the_provider_answered(two, manager, first):
    first.fail(fakes.status(503, "Out of breath.", x_request_id="up-1"))
    journey = AttemptLog()

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
        await manager.chat(HELLO, plan=manager.plan(HELLO, provider="second"))

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
        journey = AttemptLog()

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


async def test_nobody_gives_out_a_provider_that_is_not_there(two, manager):
    with pytest.raises(NoProviderError, match="There is no provider named `third`"):
        manager.get_provider("third")


def test_models_are_told_from_memory(config, first):
    config.add("acme", first, models=("small", "large"), is_default=True)
    config.add("other")
    config.execute("UPDATE providers_providermodel SET listed = false WHERE name = 'small'")
    config.wait_for(lambda snapshot: not snapshot.providers["acme"].models["small"].listed)

    assert ProviderManager(config.registry.providers).list_all_models() == {"acme": ["large"], "other": []}
    assert first.requests == []


def test_the_status_of_every_provider_is_told_from_memory(config, first):
    config.add("acme", first, is_default=True, health="healthy")
    config.add("other", provider_type="ollama", enabled=False)

    assert ProviderManager(config.registry.providers).get_status() == {
        "default_provider": "acme",
        "providers": {
            "acme": {"type": "custom", "enabled": True, "health": "healthy"},
            "other": {"type": "ollama", "enabled": False, "health": "unknown"},
        },
    }
    assert first.requests == []


def test_the_first_provider_registered_becomes_the_default_and_the_next_does_not(config, first):
    manager = ProviderManager(config.registry.providers)
    register = partial(manager.register_provider, provider_type="custom", base_url=first.url)

    registered = [register("a"), register("b"), register("a", priority=5)]

    assert [(row.name, row.is_default, is_new) for row, is_new in registered] == [
        ("a", True, True),
        ("b", False, True),
        ("a", True, False),
    ]


def test_the_default_moves_when_it_is_set_and_when_it_is_removed(two):
    manager = ProviderManager(two.registry.providers)
    manager.set_default("second")
    two.wait_for(lambda seen: seen.in_order[0].name == "second")

    manager.remove_provider("second")

    two.wait_for(lambda seen: seen.in_order[0].name == "first")


@pytest.mark.parametrize("work", ["set_default", "remove_provider"])
def test_what_is_not_there_can_be_neither_default_nor_removed(config, work):
    with pytest.raises(ProviderConfig.DoesNotExist):
        getattr(ProviderManager(config.registry.providers), work)("never-heard-of")


def test_a_process_has_one_manager():
    assert get_provider_manager() is get_provider_manager()

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
import openai
import pytest
from django.db import connection
from django.utils import timezone

from chat.gateway.lifespan import can_record
from chat.ledger.models import ChatContent, ChatStatus, ContentKind, LedgerEvent
from llmhub.access.models import ApiKey, Application
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat, get_chat, until

ASK = [{"role": "user", "content": "Who is there?"}]


@pytest.fixture
def key(hub: LiveHub) -> str:
    return hub.issue_key()


@pytest.fixture
def sdk(hub: LiveHub, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{hub.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@contextmanager
def ledger_away() -> Iterator[None]:
    """Take the ledger's one way in away for a while."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION ledger_append RENAME TO ledger_append_away")
        yield
        cursor.execute("ALTER FUNCTION ledger_append_away RENAME TO ledger_append")
    until(can_record)


def post(hub: LiveHub, key: str, *, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
    asked = {"model": "up/fake-large", "messages": ASK, **body}
    return hub.client.post("/v1/chat/completions", json=asked, headers={**hub.headers(key), **(headers or {})})


def test_the_sdk_gets_a_completion(hub, upstream, sdk):
    hub.add_provider(upstream, name="up")

    completion = sdk.chat.completions.create(model="up/fake-large", messages=ASK, temperature=0.5)

    assert completion.choices[0].message.content == "Hello from the fake."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == 14
    assert upstream.chats[0].json["model"] == "fake-large"
    assert upstream.chats[0].json["temperature"] == 0.5


def test_the_sdk_gets_a_stream_with_its_usage_in_the_last_chunk(hub, upstream, sdk):
    hub.add_provider(upstream, name="up")

    chunks = list(
        sdk.chat.completions.create(
            model="up/fake-large", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from the fake."
    assert [c.choices[0].delta.role for c in chunks if c.choices].count("assistant") == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 14
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_the_sdks_own_stream_helper_accepts_the_stream(hub, upstream, sdk):
    hub.add_provider(upstream, name="up")

    with sdk.chat.completions.stream(model="up/fake-large", messages=ASK) as stream:
        final = stream.get_final_completion()

    assert final.choices[0].message.content == "Hello from the fake."


def test_a_stream_without_include_usage_has_no_usage_chunk_though_the_provider_is_asked_for_one(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    frames = post(hub, key, stream=True).text.split("\n\n")

    assert upstream.chats[0].json["stream_options"] == {"include_usage": True}
    assert not any('"usage"' in frame for frame in frames)
    assert frames[-2:] == ["data: [DONE]", ""]


def test_unknown_parameters_reach_the_provider_untouched(hub, upstream, sdk):
    hub.add_provider(upstream, name="up")

    sdk.chat.completions.create(
        model="up/fake-large", messages=ASK, logit_bias={"7": 1}, extra_body={"min_p": 0.1, "guided": {"regex": "a+"}}
    )

    sent = upstream.chats[0].json
    assert sent["min_p"] == 0.1
    assert sent["guided"] == {"regex": "a+"}
    assert sent["logit_bias"] == {"7": 1}


def test_every_answer_says_who_gave_it(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    headers = post(hub, key).headers

    assert UUID(headers["x-request-id"]) == UUID(headers["request-id"])
    assert headers["x-llmhub-provider"] == "up"
    assert headers["x-llmhub-model"] == "fake-large"
    assert headers["x-llmhub-attempts"] == "1"
    assert headers["x-llmhub-cost-usd"] == "unknown"
    assert float(headers["x-llmhub-overhead-ms"]) >= 0


def test_a_priced_model_says_what_the_chat_cost(hub, upstream, key):
    row = hub.add_provider(upstream, name="up", models=("fake-large",))
    row.models.update(input_usd_per_mtok="2", output_usd_per_mtok="10")
    hub.wait_for(lambda s: s.providers["up"].models["fake-large"].price.input_usd_per_mtok is not None)

    answer = post(hub, key)

    assert answer.headers["x-llmhub-cost-usd"] == "0.000068"
    assert get_chat(answer.headers["x-request-id"]).cost_nano_usd == 68_000


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        pytest.param(fakes.status(429, retry_after="7"), openai.RateLimitError, "", id="429"),
        pytest.param(fakes.status(500), openai.InternalServerError, "Scripted failure", id="500"),
        pytest.param(fakes.status(401), openai.InternalServerError, "", id="our key refused"),
        pytest.param(fakes.status(400), openai.BadRequestError, "Scripted failure", id="400"),
        pytest.param(fakes.status(404), openai.NotFoundError, "", id="404"),
        pytest.param(fakes.cut_before_headers(), openai.InternalServerError, "", id="cut"),
        pytest.param(fakes.error_in_200(), openai.InternalServerError, "Scripted failure", id="error in 200"),
        pytest.param(fakes.wrong_content_type(), openai.InternalServerError, "", id="a page"),
        pytest.param(fakes.redirect("http://127.0.0.1:9/"), openai.InternalServerError, "", id="redirect"),
    ],
)
def test_the_sdk_raises_its_own_error_for_what_the_provider_does(hub, upstream, sdk, fault, error, words):
    hub.add_provider(upstream, name="up")
    upstream.fail(fault)

    with pytest.raises(error) as raised:
        sdk.chat.completions.create(model="up/fake-large", messages=ASK)

    assert words in raised.value.message
    assert raised.value.body["message"]
    assert closed_chat(raised.value.request_id).status == ChatStatus.FAILED


def test_the_sdk_raises_internal_server_error_when_the_provider_is_down(hub, sdk):
    hub.add_provider(name="up", base_url="http://127.0.0.1:9/v1")

    with pytest.raises(openai.InternalServerError, match="connection refused"):
        sdk.chat.completions.create(model="up/fake-large", messages=ASK)


def test_a_retry_hint_is_passed_on(hub, upstream, key):
    hub.add_provider(upstream, name="up")
    upstream.fail(fakes.status(429, retry_after="7"))

    answer = post(hub, key)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_an_unknown_model_is_not_found_and_recorded_as_rejected(hub, sdk):
    with pytest.raises(openai.NotFoundError, match="`nowhere`") as raised:
        sdk.chat.completions.create(model="nowhere", messages=ASK)

    chat = get_chat(raised.value.request_id)
    assert (chat.status, chat.asked_model, chat.http_status) == (ChatStatus.REJECTED, "nowhere", 404)
    assert [event.kind for event in LedgerEvent.objects.filter(chat_id=chat.pk)] == ["void"]


def test_an_unknown_key_is_refused_as_the_sdk_expects(hub):
    client = openai.OpenAI(base_url=f"{hub.url}/v1", api_key="lh_not_a_key_of_anyone", max_retries=0)

    with client, pytest.raises(openai.AuthenticationError, match="not known"):
        client.chat.completions.create(model="up/fake-large", messages=ASK)


def test_both_headers_carry_a_key(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    answer = hub.client.post(
        "/v1/chat/completions", json={"model": "up/fake-large", "messages": ASK}, headers={"x-api-key": key}
    )

    assert answer.status_code == 200


def test_a_key_may_be_bound_to_providers_and_models(hub, upstream):
    hub.add_provider(upstream, name="up", models=("fake-large", "fake-small"))
    key = hub.issue_key(allowed_models=["up/fake-small"])

    refused, served = post(hub, key), post(hub, key, model="fake-small")

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert served.status_code == 200


def test_a_revoked_key_is_refused_within_a_second_and_the_refusal_recorded(hub, upstream, key):
    hub.add_provider(upstream, name="up")
    assert post(hub, key).status_code == 200

    ApiKey.objects.revoke(now=timezone.now())

    answers: list[httpx.Response] = []
    until(lambda: answers.append(post(hub, key)) or answers[-1].status_code == 401, within_s=1)
    refused = answers[-1]
    assert "revoked" in refused.json()["error"]["message"]
    assert get_chat(refused.headers["x-request-id"]).application == "tester"


def test_the_keys_of_an_application_that_is_switched_off_are_refused(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    Application.objects.update(is_active=False)

    until(lambda: post(hub, key).status_code == 401, within_s=1)


def test_a_failing_provider_is_passed_over_for_the_next_by_priority(hub, upstream, key):
    hub.add_provider(name="down", base_url="http://127.0.0.1:9/v1", default_model="m", models=("shared",), priority=1)
    hub.add_provider(upstream, name="up", models=("shared",), priority=2)

    answer = post(hub, key, model="shared")

    assert answer.headers["x-llmhub-provider"] == "up"
    attempts = get_chat(answer.headers["x-request-id"]).attempts
    assert [(a["provider"], a["ok"]) for a in attempts] == [("down", False), ("up", True)]


def test_no_fallback_asks_the_first_alone(hub, upstream, key):
    hub.add_provider(name="down", base_url="http://127.0.0.1:9/v1", models=("shared",), priority=1)
    hub.add_provider(upstream, name="up", models=("shared",), priority=2)

    answer = post(hub, key, model="shared", headers={"x-llmhub-no-fallback": "1"})

    assert answer.status_code == 502
    assert upstream.chats == []


def test_a_stream_that_fails_before_any_content_goes_to_the_next_provider(hub, upstream, key):
    with FakeProvider("custom", text="From the second.") as second:
        hub.add_provider(upstream, name="first", models=("shared",), priority=1)
        hub.add_provider(second, name="second", models=("shared",), priority=2)
        upstream.fail(fakes.error_frame_after(0))

        answer = post(hub, key, model="shared", stream=True)

    assert "From" in answer.text
    assert "[DONE]" in answer.text
    assert get_chat(answer.headers["x-request-id"]).provider == "second"


def test_a_stream_that_breaks_after_content_ends_with_an_error_and_is_recorded_as_truncated(hub, upstream, key):
    hub.add_provider(upstream, name="up")
    upstream.fail(fakes.end_after(3))

    answer = post(hub, key, stream=True)

    assert answer.status_code == 200
    assert '"error"' in answer.text.split("\n\n")[-2]
    assert "[DONE]" not in answer.text
    chat = get_chat(answer.headers["x-request-id"])
    assert chat.status == ChatStatus.TRUNCATED
    assert b"Hello" in bytes(ChatContent.objects.get(chat_id=chat.pk, part="response").body)


def test_a_caller_that_goes_away_closes_the_provider_and_is_recorded_with_what_it_got(hub, upstream, key):
    hub.add_provider(upstream, name="up")
    upstream.fail(fakes.stall_after(3))

    body = {"model": "up/fake-large", "messages": ASK, "stream": True}
    with hub.client.stream("POST", "/v1/chat/completions", json=body, headers=hub.headers(key)) as answer:
        next(answer.iter_bytes())
        chat_id = answer.headers["x-request-id"]

    assert upstream.hung_up.wait(1)
    chat = closed_chat(chat_id)
    assert chat.status == ChatStatus.CLIENT_DISCONNECTED
    assert chat.usage_source == "estimated"
    assert b"Hello" in bytes(ChatContent.objects.get(chat_id=chat.pk, part="response").body)


def test_a_caller_that_goes_away_before_the_answer_is_recorded_too(hub, upstream, key):
    hub.add_provider(upstream, name="up", timeout=30)
    upstream.fail(fakes.stall_before_headers())

    body = {"model": "up/fake-large", "messages": ASK, "user": "leaver"}
    hub.ask_and_leave("/v1/chat/completions", body, key, once=upstream.stalled)

    assert upstream.hung_up.wait(10)
    until(lambda: hub.last_chat().status == ChatStatus.CLIENT_DISCONNECTED)
    assert hub.last_chat().end_user == "leaver"


def test_a_chat_has_one_deadline_over_all_its_attempts(hub, upstream, key):
    hub.add_provider(upstream, name="up", timeout=30)
    upstream.fail(fakes.stall_before_headers())

    answer = post(hub, key, headers={"x-llmhub-timeout-s": "0.2"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "provider_timeout")
    assert upstream.hung_up.wait(1)


def test_the_intent_is_committed_before_the_provider_hears_of_the_chat(hub, upstream, key):
    hub.add_provider(upstream, name="up", timeout=30)
    upstream.fail(fakes.stall_before_headers())
    post_in_background = hub.in_background(lambda: post(hub, key))

    assert upstream.stalled.wait(5)
    chat = hub.last_chat()
    kinds = [event.kind for event in LedgerEvent.objects.filter(chat_id=chat.pk)]
    upstream.release()

    assert (chat.status, kinds) == (ChatStatus.STARTED, ["intent"])
    assert post_in_background.result(5).status_code == 200
    assert closed_chat(chat.pk).status == ChatStatus.SUCCEEDED


def test_no_provider_is_asked_while_the_record_cannot_be_written(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    with ledger_away():
        answers = [post(hub, key), post(hub, key, stream=True), post(hub, key, model="nowhere")]

    assert upstream.chats == []
    assert [(a.status_code, a.json()["error"]["code"]) for a in answers] == [(503, "record_unavailable")] * 3


def test_labels_of_the_caller_stand_in_the_record(hub, upstream, key):
    hub.add_provider(upstream, name="up")

    answer = post(hub, key, headers={"x-llmhub-user": "ann", "x-llmhub-conversation": "c-1"})

    chat = get_chat(answer.headers["x-request-id"])
    assert (chat.end_user, chat.conversation, chat.application) == ("ann", "c-1", "tester")
    assert chat.address == "127.0.0.1"


def test_a_disabled_provider_is_not_asked(hub, upstream, key):
    row = hub.add_provider(upstream, name="up")
    row.enabled = False
    row.save()
    hub.wait_for(lambda s: not s.providers["up"].enabled)

    answer = post(hub, key)

    assert answer.status_code == 503
    assert "up is disabled" in answer.json()["error"]["message"]


def test_the_rate_limit_of_a_provider_is_kept(hub, upstream, key):
    hub.add_provider(upstream, name="up", rate_limit=3)

    statuses = [post(hub, key).status_code for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]
    assert len(upstream.chats) == 3


def test_nobody_has_the_whole_of_an_answer_whose_outcome_cannot_be_recorded(hub, upstream, key):
    hub.add_provider(upstream, name="up", timeout=30)
    upstream.fail(fakes.stall_before_headers())
    answer = hub.in_background(lambda: post(hub, key))
    assert upstream.stalled.wait(5)

    with ledger_away():
        upstream.release()
        assert answer.result(10).status_code == 503

    assert "Hello" not in answer.result().text
    chat = closed_chat(answer.result().headers["x-request-id"])
    assert (chat.status, chat.error_code) == (ChatStatus.FAILED, "record_unavailable")
    assert chat.completion_tokens == 5


def test_a_stream_does_not_end_as_whole_when_its_outcome_cannot_be_recorded(hub, upstream, key):
    hub.add_provider(upstream, name="up", timeout=30)
    upstream.fail(fakes.stall_after(3))
    answer = hub.in_background(lambda: post(hub, key, stream=True))
    assert upstream.stalled.wait(5)

    with ledger_away():
        upstream.release()
        text = answer.result(10).text

    assert "record_unavailable" in text.split("\n\n")[-2]
    assert "[DONE]" not in text
    assert '"finish_reason":"stop"' not in text
    assert closed_chat(answer.result().headers["x-request-id"]).error_code == "record_unavailable"


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param({"headers": {"x-llmhub-no-log": "1", "cf-aig-collect-log": "false"}}, id="headers"),
        pytest.param({"store": False, "no-log": True, "no_log": True}, id="parameters"),
        pytest.param({"metadata": {"log": "off"}, "extra_body": {"no-log": True}}, id="extensions"),
    ],
)
def test_a_caller_cannot_switch_its_own_record_off(hub, upstream, key, wish):
    hub.add_provider(upstream, name="up")

    answer = post(hub, key, **wish)

    chat_id = answer.headers["x-request-id"]
    assert [event.kind for event in LedgerEvent.objects.filter(chat_id=chat_id).order_by("id")] == ["intent", "outcome"]
    assert ContentKind.REQUEST in ChatContent.objects.filter(chat_id=chat_id).values_list("part", flat=True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_parameters_that_a_provider_cannot_take_are_named_to_the_caller_and_in_the_record(hub, key, stream):
    with FakeProvider("anthropic") as fake:
        hub.add_provider(fake, name="claude", provider_type="anthropic", base_url=fake.url, api_key="sk-ant-0123456789")
        answer = post(hub, key, model="claude/m", seed=7, stream=stream)

    assert answer.headers["x-llmhub-dropped-params"] == "seed"
    outcome = LedgerEvent.objects.get(chat_id=answer.headers["x-request-id"], kind="outcome")
    assert outcome.event["dropped_params"] == ["seed"]


def test_a_provider_that_cannot_be_asked_that_is_passed_over_for_one_that_can(hub, upstream, key):
    with FakeProvider("anthropic") as fake:
        hub.add_provider(
            fake,
            name="claude",
            provider_type="anthropic",
            base_url=fake.url,
            api_key="sk-ant-0123456789",
            models=("shared",),
            priority=1,
        )
        hub.add_provider(upstream, name="up", models=("shared",), priority=2)
        passed_over = post(hub, key, model="shared", n=2)
        refused = post(hub, key, model="claude/shared", n=2)

    assert passed_over.headers["x-llmhub-provider"] == "up"
    assert fake.chats == []
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


def test_with_several_choices_none_is_held_back_until_the_last_has_finished(hub, upstream, key):
    hub.add_provider(upstream, name="up")
    frames = [
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":null}]}\n\n',
        b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    upstream.fail(fakes.pieces(*frames[:2], fakes.Signal.STALL, *frames[2:]))

    body = {"model": "up/m", "messages": ASK, "stream": True, "n": 2}
    with hub.client.stream("POST", "/v1/chat/completions", json=body, headers=hub.headers(key)) as answer:
        pieces = answer.iter_bytes()
        early = b""
        while b'"b"' not in early:
            early += next(pieces)
        upstream.release()
        late = b"".join(pieces)

    assert b'"a"' in early
    assert b"[DONE]" in late

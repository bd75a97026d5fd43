"""What every provider type does alike, against a fake provider that speaks its format."""

import asyncio
import logging
import traceback

import pytest

from providers import errors
from providers.backends import BACKENDS
from providers.manager import is_content
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChoiceFinished,
    Endpoint,
    OutputFormat,
    Passthrough,
    ProviderType,
    ReplyStarted,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    WireFormat,
)
from tests import fakes
from tests.providers.asking import collect
from tests.providers.backends.conftest import KEY
from tests.providers.wire.assembling import assembled

ONE_SHOT_LIST = {ProviderType.OPENAI, ProviderType.MISTRAL, ProviderType.CUSTOM, ProviderType.OLLAMA}
MARK_AN_END = set(BACKENDS) - {ProviderType.GOOGLE}
CONVERSATION = (
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content="Who are you?"),
    ChatMessage(role="assistant", content="A fake."),
    ChatMessage(role="user", content="Whose?"),
)


@pytest.fixture(params=list(BACKENDS))
def provider_type(request):
    return request.param


@pytest.fixture
def fake(make_fake, provider_type):
    return make_fake(provider_type, api_key=KEY)


@pytest.fixture
def backend(fake, make_backend, provider_type):
    return make_backend(fake, provider_type)


def make_request(**params):
    return ChatRequest(**{"messages": CONVERSATION, "model_name": "fake-large"} | params)


async def streamed(backend, request=None):
    return [delta async for delta in backend.stream_chat(request or make_request())]


def leaf_values(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaf_values(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaf_values(item)]
    return [value]


async def test_a_whole_answer_has_text_usage_model_and_reason(backend, fake):
    response = await backend.chat(make_request())

    assert response.content == fake.script.text
    assert response.finish_reason == "stop"
    assert response.model_name == "fake-large"
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (9, 5)
    assert response.usage.source == "provider"


async def test_the_streamed_answer_is_the_whole_one(backend, fake):
    deltas = await streamed(backend)

    assert assembled(deltas) == await backend.chat(make_request())
    assert [delta.text for delta in deltas if is_content(delta)] == fake.script.words


async def test_a_stream_names_model_and_reason_once(backend):
    deltas = await streamed(backend)

    assert [delta.finish_reason for delta in deltas if isinstance(delta, ChoiceFinished)] == ["stop"]
    names = [delta.model_name for delta in deltas if isinstance(delta, ReplyStarted) and delta.model_name]
    assert names == ["fake-large"]


async def test_every_turn_of_a_conversation_arrives_in_order(backend, fake):
    await backend.chat(make_request())

    sent = leaf_values(fake.chats[0].json)
    positions = [sent.index(text) for text in ("Who are you?", "A fake.", "Whose?")]
    assert positions == sorted(positions)
    assert "Be brief." in sent


async def test_tools_calls_and_their_results_arrive_at_every_type(backend, fake):
    call = ChatMessage("assistant", [ToolCallPart("call_1", "look", '{"place": "x"}')])
    result = ChatMessage("tool", [ToolResultPart("call_1", (TextPart("A cat."),))])
    tool = Tool("look", "Looks around.", {"type": "object", "properties": {"place": {"type": "string"}}})

    await backend.chat(make_request(messages=(*CONVERSATION, call, result), tools=(tool,)))

    sent = fake.chats[0].body.decode()
    assert all(text in sent for text in ("Looks around.", '"place"', "A cat."))
    assert sent.count('"look"') >= 2


@pytest.mark.parametrize(
    "params",
    [
        {"sampling": Sampling(n=1, logprobs=False)},
        {"tool_choice": ToolChoice("auto")},
        {"tool_choice": ToolChoice("none")},
        {"output_format": OutputFormat("text")},
        {"extra": Passthrough(WireFormat.OPENAI_CHAT, {"modalities": ["text"], "logit_bias": {}})},
    ],
)
async def test_what_asks_for_nothing_special_is_let_through(backend, fake, params):
    response = await backend.chat(make_request(**params))

    assert response.content == fake.script.text


async def test_sampling_parameters_arrive_in_the_formats_own_fields(backend, fake, provider_type):
    sampling = Sampling(temperature=0.5, top_p=0.75, max_tokens=123, stop=("END", "STOP"))

    await backend.chat(make_request(sampling=sampling))

    sent = fake.chats[0].json
    fields = {
        ProviderType.OLLAMA: lambda: [sent["options"][k] for k in ("temperature", "top_p", "num_predict", "stop")],
        ProviderType.ANTHROPIC: lambda: [sent[k] for k in ("temperature", "top_p", "max_tokens", "stop_sequences")],
        ProviderType.GOOGLE: lambda: [
            sent["generationConfig"][k] for k in ("temperature", "topP", "maxOutputTokens", "stopSequences")
        ],
        ProviderType.OPENAI: lambda: [sent[k] for k in ("temperature", "top_p", "max_completion_tokens", "stop")],
        ProviderType.MISTRAL: lambda: [sent[k] for k in ("temperature", "top_p", "max_tokens", "stop")],
        ProviderType.CUSTOM: lambda: [sent[k] for k in ("temperature", "top_p", "max_tokens", "stop")],
    }
    assert fields[provider_type]() == [0.5, 0.75, 123, ["END", "STOP"]]


async def test_cached_and_reasoning_tokens_are_told(make_fake, make_backend, provider_type):
    usage = Usage(prompt_tokens=90, completion_tokens=30, cached_tokens=64, reasoning_tokens=12)
    backend = make_backend(make_fake(provider_type, usage=usage), provider_type)

    answers = await backend.chat(make_request()), assembled(await streamed(backend))

    for told in [answer.usage for answer in answers]:
        assert (told.prompt_tokens, told.completion_tokens, told.total_tokens) == (90, 30, 120)
        if provider_type is not ProviderType.OLLAMA:  # which tells neither
            assert (told.cached_tokens, told.reasoning_tokens) == (64, 12)


@pytest.mark.parametrize(
    ("provider_type", "reason"),
    [
        (provider_type, reason)
        for provider_type in BACKENDS
        for reason in ("stop", "length", "content_filter")
        if (provider_type, reason) != (ProviderType.OLLAMA, "content_filter")  # which has no filter
    ],
)
async def test_finish_reasons_are_canonical(make_fake, make_backend, provider_type, reason):
    backend = make_backend(make_fake(provider_type, finish_reason=reason), provider_type)

    whole, deltas = await backend.chat(make_request()), await streamed(backend)

    assert whole.finish_reason == reason
    assert [delta.finish_reason for delta in deltas if isinstance(delta, ChoiceFinished)] == [reason]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(fakes.status(400), errors.RequestRejectedError, id="400"),
        pytest.param(fakes.status(401), errors.CredentialRejectedError, id="401"),
        pytest.param(fakes.status(402), errors.QuotaExhaustedError, id="402"),
        pytest.param(fakes.status(403), errors.CredentialRejectedError, id="403"),
        pytest.param(fakes.status(404), errors.ModelNotServedError, id="404"),
        pytest.param(fakes.status(408), errors.ProviderTimeoutError, id="408"),
        pytest.param(fakes.status(413), errors.RequestRejectedError, id="413"),
        pytest.param(fakes.status(422), errors.RequestRejectedError, id="422"),
        pytest.param(fakes.status(429), errors.RateLimitedError, id="429"),
        pytest.param(fakes.status(500), errors.UpstreamError, id="500"),
        pytest.param(fakes.status(502), errors.UpstreamError, id="502"),
        pytest.param(fakes.status(503), errors.OverloadedError, id="503"),
        pytest.param(fakes.status(529), errors.OverloadedError, id="529"),
        pytest.param(fakes.body(b"<html>Bad gateway</html>", status=502), errors.UpstreamError, id="502-html"),
        pytest.param(fakes.body(b"[]", status=503), errors.OverloadedError, id="503-list"),
        pytest.param(fakes.redirect("https://elsewhere.example/v1?k=1"), errors.ConfigurationError, id="redirect"),
        pytest.param(fakes.cut_before_headers(), errors.UpstreamError, id="cut-before-headers"),
        pytest.param(fakes.cut_after_headers(), errors.UpstreamError, id="cut-after-headers"),
        pytest.param(fakes.not_http(), errors.UpstreamError, id="not-http"),
        pytest.param(fakes.error_in_200(), errors.UpstreamError, id="error-in-200"),
        pytest.param(fakes.wrong_content_type(), errors.MalformedReplyError, id="html"),
        pytest.param(fakes.gzip_bomb(), errors.MalformedReplyError, id="gzip-bomb"),
    ],
)
@pytest.mark.parametrize("call", ["chat", "stream"])
async def test_each_fault_has_its_error(backend, fake, fault, error, call):
    fake.fail(fault)

    with pytest.raises(error) as caught:
        await (backend.chat(make_request()) if call == "chat" else streamed(backend))

    assert type(caught.value) is error
    assert caught.value.provider == "acme"
    assert len(fake.chats) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(fakes.body(b"not json"), errors.MalformedReplyError, id="not-json"),
        pytest.param(fakes.body(b"[1, 2]"), errors.MalformedReplyError, id="a-list"),
        pytest.param(fakes.body(b"{}"), errors.MalformedReplyError, id="empty-object"),
    ],
)
async def test_a_whole_reply_out_of_format_is_malformed(backend, fake, fault, error):
    fake.fail(fault)

    with pytest.raises(error):
        await backend.chat(make_request())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(fakes.cut_after(2), errors.UpstreamError, id="cut"),
        pytest.param(fakes.end_after(2), errors.TruncatedReplyError, id="ended"),
        pytest.param(fakes.empty_stream(), errors.TruncatedReplyError, id="empty"),
        pytest.param(fakes.error_frame_after(2), errors.UpstreamError, id="error-frame"),
        pytest.param(fakes.garbage(), errors.MalformedReplyError, id="garbage"),
        pytest.param(fakes.gigantic_line(), errors.MalformedReplyError, id="gigantic-line"),
    ],
)
async def test_each_fault_of_a_stream_has_its_error(backend, fake, fault, error):
    fake.fail(fault)

    with pytest.raises(error) as caught:
        await streamed(backend)

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        pytest.param(fakes.error_frame_after(3), errors.UpstreamError, r"Scripted failure\.", id="error-frame"),
        pytest.param(fakes.bad_line_after(3), errors.MalformedReplyError, "not JSON", id="bad-line"),
    ],
)
async def test_what_came_before_a_fault_is_delivered_and_nothing_after_it(backend, fake, fault, error, words):
    fake.fail(fault)
    got = []

    with pytest.raises(error, match=words) as caught:
        await collect(backend.stream_chat(make_request()), got)

    text = assembled(got).content
    assert (type(caught.value), caught.value.provider) == (error, "acme")
    assert text
    assert text != fake.script.text
    assert fake.script.text.startswith(text)


async def test_a_stall_is_a_timeout(make_backend, fake, provider_type):
    backend = make_backend(fake, provider_type, read_s=0.05)
    fake.fail(fakes.stall_before_headers(), fakes.slow_first_token())

    with pytest.raises(errors.ProviderTimeoutError):
        await backend.chat(make_request())
    with pytest.raises(errors.ProviderTimeoutError):
        await streamed(backend)


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [
        pytest.param({"retry_after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry_after": "86400"}, 60.0, id="capped"),
        pytest.param(
            {"retry_after": "Sun, 22 Nov 2026 10:00:20 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 20.0, id="date"
        ),
        pytest.param({"x_ratelimit_reset_requests": "1m2s", "x_ratelimit_reset_tokens": "900ms"}, 0.9, id="reset"),
        pytest.param({}, None, id="nothing"),
    ],
)
async def test_the_providers_retry_hint_is_kept(backend, fake, headers, retry_after_s):
    fake.fail(fakes.status(429, **headers))

    with pytest.raises(errors.RateLimitedError) as caught:
        await backend.chat(make_request())

    assert caught.value.retry_after_s == retry_after_s


async def test_an_error_tells_status_request_id_and_the_providers_words(backend, fake):
    fake.fail(fakes.status(500, "The model fell over.", x_request_id="req-42"))

    with pytest.raises(errors.UpstreamError) as caught:
        await backend.chat(make_request())

    error = caught.value
    assert (error.upstream_status, error.upstream_request_id) == (500, "req-42")
    assert str(error) == error.message == "The model fell over."


async def test_a_long_message_is_shortened(backend, fake):
    fake.fail(fakes.status(400, "x" * 2000))

    with pytest.raises(errors.RequestRejectedError) as caught:
        await backend.chat(make_request())

    assert len(caught.value.message) == 300


async def test_a_redirect_is_not_followed_and_only_its_host_named(backend, fake):
    fake.fail(fakes.redirect("https://user:secret@elsewhere.example/v1?token=secret"))

    with pytest.raises(errors.ConfigurationError, match=r"elsewhere\.example") as caught:
        await backend.chat(make_request())

    assert "secret" not in str(caught.value)


async def test_models_are_listed_over_all_pages(make_fake, make_backend, provider_type):
    names = tuple(f"model-{number}" for number in range(7))
    fake = make_fake(provider_type, model_names=names, page_size=3)
    backend = make_backend(fake, provider_type)

    models = await backend.list_models()

    assert tuple(model.name for model in models) == names
    assert len(fake.requests) == (1 if provider_type in ONE_SHOT_LIST else 3)


@pytest.mark.parametrize(
    ("provider_type", "page"),
    [
        (ProviderType.ANTHROPIC, b'{"data": [{"id": "fake-large"}], "has_more": true, "last_id": "fake-large"}'),
        (ProviderType.GOOGLE, b'{"models": [{"name": "models/fake-large"}], "nextPageToken": "1"}'),
    ],
)
async def test_a_cursor_that_repeats_ends_the_listing(make_fake, make_backend, provider_type, page):
    fake = make_fake(provider_type)
    fake.probe_faults.extend([fakes.body(page)] * 9)

    models = await make_backend(fake, provider_type).list_models()

    assert [model.name for model in models] == ["fake-large", "fake-large"]


async def test_a_probe_costs_no_chat(backend, fake):
    result = await backend.health_check()

    assert (result.ok, result.error) == (True, "")
    assert 0 <= result.latency_ms < 5000
    assert (len(fake.requests), fake.chats) == (1, [])


async def test_a_probe_tells_a_bad_key_in_words(make_backend, fake, provider_type):
    backend = make_backend(fake, provider_type, api_key="sk-wrong")

    result = await backend.health_check()

    assert not result.ok
    assert any(word in result.error.lower() for word in ("key", "unauthorized"))
    assert "sk-wrong" not in result.error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(fakes.status(503, "Loading model"), "Loading model", id="503"),
        pytest.param(fakes.wrong_content_type(), "not JSON", id="html"),
        pytest.param(fakes.error_in_200("Unexpected endpoint"), "Unexpected endpoint", id="error-in-200"),
        pytest.param(fakes.cut_before_headers(), "connection closed by 127.0.0.1", id="cut"),
    ],
)
async def test_a_probe_tells_in_words_what_is_wrong(backend, fake, fault, words):
    fake.probe_faults.extend([fault] * 2)  # a probe on a closed connection is sent once more by the HTTP client

    result = await backend.health_check()

    assert not result.ok
    assert words in result.error


async def test_a_probe_of_nothing_tells_that_the_connection_was_refused(make_backend, make_fake, provider_type):
    with fakes.FakeProvider(provider_type) as gone:
        pass

    result = await make_backend(gone, provider_type).health_check()

    assert result.error == f"connection refused by 127.0.0.1:{gone.port}"


async def test_closing_a_stream_closes_the_upstream_connection(backend, fake):
    fake.fail(fakes.stall_after(3))
    stream = backend.stream_chat(make_request())
    async for delta in stream:
        if is_content(delta):
            break

    await stream.aclose()

    assert await asyncio.to_thread(fake.hung_up.wait, 1.0)


@pytest.mark.parametrize("call", ["chat", "stream"])
async def test_a_cancelled_call_closes_the_upstream_connection(backend, fake, call):
    fake.fail(fakes.stall_before_headers())
    task = asyncio.create_task(backend.chat(make_request()) if call == "chat" else streamed(backend))
    await asyncio.to_thread(fake.stalled.wait, 5.0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(fake.hung_up.wait, 1.0)


async def test_a_stream_read_to_its_end_leaves_the_connection_for_the_next(backend, fake):
    for _ in range(3):
        await streamed(backend)
        await backend.chat(make_request())

    assert fake.connections == 1


async def test_a_slow_first_token_is_waited_for(backend, fake):
    fake.fail(fakes.slow_first_token())
    task = asyncio.create_task(streamed(backend))
    await asyncio.to_thread(fake.stalled.wait, 5.0)

    fake.release()

    assert assembled(await task).content == fake.script.text


@pytest.mark.parametrize("call", ["chat", "stream"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fakes.status(401, f"Incorrect API key provided: {KEY}."), id="401"),
        pytest.param(fakes.status(400, f"The key {KEY} may not.", error_code=KEY), id="400"),
        pytest.param(fakes.error_in_200(f"Denied for {KEY}"), id="error-in-200"),
        pytest.param(fakes.cut_before_headers(), id="cut"),
        pytest.param(fakes.not_http(), id="not-http"),
        pytest.param(fakes.garbage(), id="garbage"),
        pytest.param(fakes.redirect(f"https://{KEY}.example/"), id="redirect"),
    ],
)
async def test_no_error_and_no_log_holds_the_key(backend, fake, fault, call, caplog):
    caplog.set_level(logging.DEBUG)
    fake.fail(fault)

    with pytest.raises(errors.ProviderError) as caught:
        await (backend.chat(make_request()) if call == "chat" else streamed(backend))

    error = caught.value
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error), repr(backend.endpoint)]
    assert KEY not in "\n".join([*shown, caplog.text])
    assert fake.chats[0].headers


@pytest.mark.parametrize("provider_type", [name for name, backend in BACKENDS.items() if backend.needs_api_key])
async def test_without_a_key_nothing_is_sent(make_backend, fake, provider_type):
    backend = make_backend(fake, provider_type, api_key="")

    with pytest.raises(errors.ConfigurationError, match="needs an API key"):
        await backend.chat(make_request())

    assert fake.requests == []


@pytest.mark.parametrize("key", ["sk-1\r\nx-evil: 1", "sk-é"])
async def test_a_key_that_is_no_header_value_is_refused(make_backend, fake, provider_type, key):
    backend = make_backend(fake, provider_type, api_key=key)

    with pytest.raises(errors.ConfigurationError):
        await backend.chat(make_request())

    assert fake.requests == []


async def test_a_base_url_may_end_with_a_slash(client, fake, provider_type):
    endpoint = Endpoint(name="acme", base_url=f"{fake.url}/", api_key=KEY)
    backend = BACKENDS[provider_type](endpoint, client)

    response = await backend.chat(make_request())

    assert response.content == fake.script.text
    assert "//" not in fake.chats[0].path


@pytest.mark.parametrize("provider_type", sorted(MARK_AN_END))
async def test_frames_after_the_end_are_ignored(backend, fake):
    fake.fail(fakes.frames_after_the_end())

    deltas = await streamed(backend)

    assert assembled(deltas).content == fake.script.text


async def test_every_stored_provider_type_has_a_backend():
    assert set(BACKENDS) == set(ProviderType)
    assert all(backend.provider_type is provider_type for provider_type, backend in BACKENDS.items())

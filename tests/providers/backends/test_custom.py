import json

import pytest
from pydantic import ValidationError

from providers import errors
from providers.backends.custom import CustomProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo
from providers.wire.openai_chat import decode_request
from tests import fakes
from tests.providers.wire.assembling import assembled
from tests.wire import sample

ASK = ChatRequest(messages=(ChatMessage(role="user", content="Hi"),), model_name="m")
NO_STREAM_OPTIONS = json.dumps(
    {
        "detail": [
            {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
        ]
    }
).encode()


def make_custom(*, api_key="", **settings):
    endpoint = Endpoint(name="box", base_url="http://localhost:1/v1", api_key=api_key, settings=settings)
    return CustomProvider(endpoint, client=None)


async def streamed(backend, request=ASK):
    return assembled([delta async for delta in backend.stream_chat(request)])


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        pytest.param({"max_tokens": 5}, "max_tokens", id="usual"),
        pytest.param({"max_completion_tokens": 5}, "max_completion_tokens", id="the-callers-choice"),
    ],
)
def test_the_length_goes_by_the_name_that_servers_know(asked, name):
    request = decode_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **asked})

    body = make_custom().chat_call(request, stream=False).json

    assert {key: value for key, value in body.items() if key.startswith("max")} == {name: 5}


@pytest.mark.parametrize(
    ("settings", "api_key", "headers"),
    [
        pytest.param({}, "", {}, id="no-key"),
        pytest.param({}, "k", {"authorization": "Bearer k"}, id="key"),
        pytest.param({"extra_headers": {"X-Team": "a b"}}, "", {"x-team": "a b"}, id="extra"),
    ],
)
def test_headers_hold_what_is_configured(settings, api_key, headers):
    assert make_custom(api_key=api_key, **settings).auth_headers() == headers


async def test_a_name_of_the_hubs_own_gives_way_to_a_configured_one_however_it_is_written(make_fake, make_backend):
    fake = make_fake("custom")

    await make_backend(fake, "custom", extra_headers={"User-Agent": "acme/1"}).list_models()

    assert fake.requests[-1].headers["user-agent"] == "acme/1"


@pytest.mark.parametrize(
    "extra_headers",
    [
        {"Authorization": "Bearer x"},
        {"x-api-key": "x"},
        {"Host": "x"},
        {"accept-encoding": "gzip"},
        {"x y": "x"},
        {"x-a": "a\r\nb: c"},
        {"x-a": "é"},
        {"x-a": 5},
    ],
)
def test_extra_headers_that_may_not_be_set_are_refused(extra_headers):
    with pytest.raises(ValidationError, match="extra_headers"):
        make_custom(extra_headers=extra_headers)


def test_a_custom_provider_has_no_address_of_its_own():
    assert CustomProvider.default_base_url == ""
    assert make_custom(strict_models=True).settings.strict_models


def test_models_may_tell_their_context_window():
    models, _ = make_custom().read_models(sample("custom", "models_vllm"))

    assert models == [
        ModelInfo(name="qwen3", context_window=40960),
        ModelInfo(name="other", context_window=8192),
        ModelInfo(name="plain"),
    ]


@pytest.mark.parametrize("status", [400, 422])
async def test_stream_options_that_a_server_refuses_are_left_out_from_then_on(make_fake, make_backend, status):
    fake = make_fake("custom")
    backend = make_backend(fake, "custom")
    fake.fail(fakes.body(NO_STREAM_OPTIONS, status=status))

    first, second = await streamed(backend), await streamed(backend)

    assert [("stream_options" in chat.json) for chat in fake.chats] == [True, False, False]
    assert [answer.finish_reason for answer in (first, second)] == ["stop", "stop"]


async def test_a_refusal_is_answered_once_only(make_fake, make_backend):
    fake = make_fake("custom")
    backend = make_backend(fake, "custom")
    fake.always = fakes.body(NO_STREAM_OPTIONS, status=400)

    for _ in range(2):
        with pytest.raises(errors.RequestRejectedError):
            await streamed(backend)

    assert [("stream_options" in chat.json) for chat in fake.chats] == [True, False] * 2


async def test_what_one_model_refuses_another_is_still_asked(make_fake, make_backend):
    fake = make_fake("custom")
    backend = make_backend(fake, "custom")
    fake.fail(fakes.body(NO_STREAM_OPTIONS, status=400))

    await streamed(backend)
    await streamed(backend, ChatRequest(messages=ASK.messages, model_name="other"))

    assert [("stream_options" in chat.json) for chat in fake.chats] == [True, False, True]


async def test_another_refusal_is_not_answered(make_fake, make_backend):
    fake = make_fake("custom")
    fake.fail(fakes.status(400, "temperature is too high"))

    with pytest.raises(errors.RequestRejectedError):
        await streamed(make_backend(fake, "custom"))

    assert len(fake.chats) == 1


async def test_extra_headers_go_with_every_call(make_fake, make_backend):
    fake = make_fake("custom")
    backend = make_backend(fake, "custom", api_key="", extra_headers={"X-Team": "blue"})

    await backend.chat(ASK)
    await backend.list_models()

    assert [request.headers.get("x-team") for request in fake.requests] == ["blue", "blue"]
    assert "authorization" not in fake.requests[0].headers


async def test_a_server_that_does_not_stream_answers_in_one_frame(make_fake, make_backend):
    fake = make_fake("custom")
    whole = {"choices": [{"message": {"role": "assistant", "content": "Red."}, "finish_reason": "stop"}]}
    fake.fail(fakes.body(json.dumps(whole, indent=2).encode()))

    answer = await streamed(make_backend(fake, "custom"))

    assert [(choice.text, choice.finish_reason) for choice in answer.choices] == [("Red.", "stop")]


@pytest.mark.parametrize(
    "body", [b'{"error": "Unexpected endpoint"}', b'{\n  "error": {\n    "message": "Unexpected endpoint"\n  }\n}']
)
async def test_an_error_in_place_of_a_stream_is_told(make_fake, make_backend, body):
    fake = make_fake("custom")
    fake.fail(fakes.body(body))

    with pytest.raises(errors.UpstreamError, match="Unexpected endpoint"):
        await streamed(make_backend(fake, "custom"))


async def test_a_stream_that_fell_to_pieces_on_the_way_is_read(make_fake, make_backend):
    fake = make_fake("custom")
    frame = {"choices": [{"delta": {"content": "\u2028é\u0085"}, "finish_reason": "stop"}]}
    stream = f": ping\r\n\r\ndata: {json.dumps(frame, ensure_ascii=False)}\r\n\r\n".encode()
    fake.fail(fakes.pieces(*(stream[i : i + 1] for i in range(len(stream)))))

    answer = await streamed(make_backend(fake, "custom"))

    assert answer.content == "\u2028é\u0085"

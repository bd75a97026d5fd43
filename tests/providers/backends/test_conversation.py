import pytest
from providers.backends.conversation import check_translatable, dropped_params, inline_image, max_tokens_of

from providers.errors import RequestRejectedError
from providers.types import ChatMessage, ChatRequest, ImagePart, OpaquePart, ProviderType, TextPart, ToolCall

USER = ChatMessage(role="user", content="Hi")
LOOK = {"type": "function", "function": {"name": "look"}}


def check(*messages, **params):
    check_translatable(ChatRequest(messages=messages or (USER,), **params), ProviderType.ANTHROPIC)


@pytest.mark.parametrize(
    ("param", "params"),
    [
        ("tools", {"tools": (LOOK,)}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tool_choice": LOOK}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("n", {"n": 2}),
        ("logprobs", {"extra": {"logprobs": True}}),
        ("logit_bias", {"extra": {"logit_bias": {"7": 1}}}),
        ("functions", {"extra": {"functions": [{"name": "look"}]}}),
        ("modalities", {"extra": {"modalities": ["text", "audio"]}}),
    ],
)
def test_what_would_be_lost_is_refused_by_name(param, params):
    with pytest.raises(RequestRejectedError, match=f"`{param}`.*anthropic") as caught:
        check(**params)

    assert caught.value.param == param


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(ChatMessage(role="tool", content="42", tool_call_id="call_1"), id="tool-result"),
        pytest.param(ChatMessage(role="assistant", tool_calls=(ToolCall("call_1", "look", "{}"),)), id="tool-call"),
        pytest.param(ChatMessage(role="user", content=(OpaquePart({"type": "input_audio"}),)), id="audio"),
        pytest.param(ChatMessage(role="system", content=(ImagePart("https://h/i.png"),)), id="image-of-the-system"),
    ],
)
def test_messages_that_would_lose_content_are_refused(message):
    with pytest.raises(RequestRejectedError, match="anthropic") as caught:
        check(USER, message)

    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "params",
    [
        {"n": 1},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"extra": {"logprobs": False, "modalities": ["text"], "logit_bias": {}}},
    ],
)
def test_what_asks_for_nothing_special_is_let_through(params):
    check(**params)


def test_what_messages_carry_besides_their_content_is_named_when_dropped():
    parts = (
        TextPart("Hi", extra={"cache_control": {"type": "ephemeral"}}),
        ImagePart("https://h/i.png", detail="high"),
    )
    message = ChatMessage(role="user", content=parts, extra={"name": "ann", "annotations": [], "refusal": None})
    request = ChatRequest(messages=(message,), seed=1, user="u-1", extra={"verbosity": "low", "metadata": None})

    dropped = dropped_params(request, ("seed", "reasoning_effort"))

    assert dropped == ("messages.cache_control", "messages.detail", "messages.name", "seed", "verbosity")


@pytest.mark.parametrize(
    ("params", "max_tokens"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"max_tokens": 7}, 7, id="older-name"),
        pytest.param({"extra": {"max_completion_tokens": 9}}, 9, id="newer-name"),
        pytest.param({"max_tokens": 7, "extra": {"max_completion_tokens": 9}}, 9, id="both"),
    ],
)
def test_the_length_of_the_answer_has_two_names_and_neither_is_dropped(params, max_tokens):
    request = ChatRequest(messages=(USER,), **params)

    assert max_tokens_of(request) == max_tokens
    assert dropped_params(request, ()) == ()


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "9", [9]])
def test_a_length_that_is_none_is_refused(value):
    request = ChatRequest(messages=(USER,), extra={"max_completion_tokens": value})

    with pytest.raises(RequestRejectedError, match="whole number") as caught:
        max_tokens_of(request)

    assert caught.value.param == "max_completion_tokens"


@pytest.mark.parametrize(
    ("url", "media_type"),
    [
        pytest.param("data:image/png;base64,iVBO", "image/png", id="plain"),
        pytest.param("data:image/svg+xml;charset=utf-8;base64,iVBO", "image/svg+xml", id="with-parameters"),
    ],
)
def test_a_data_url_is_an_inline_image(url, media_type):
    image = inline_image(ImagePart(url))

    assert (image.media_type, image.data) == (media_type, "iVBO")


def test_an_http_url_lies_elsewhere():
    assert inline_image(ImagePart("HTTPS://h/i.png")) is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:image/png,raw", "data:;base64,iVBO", "i.png", ""])
def test_another_address_of_an_image_is_refused(url):
    with pytest.raises(RequestRejectedError, match="data:") as caught:
        inline_image(ImagePart(url))

    assert caught.value.param == "messages"

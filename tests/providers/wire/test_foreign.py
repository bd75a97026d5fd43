import pytest

from providers.errors import UnsupportedRequestError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ImagePart,
    Passthrough,
    TextPart,
    Tool,
    ToolResultPart,
    WireFormat,
)
from providers.wire.foreign import check_foreign_params, foreign_names

GOOGLE, CHAT = WireFormat.GOOGLE, WireFormat.OPENAI_CHAT
HELLO = ChatMessage("user", "Hi")


def chats(**fields):
    return Passthrough(CHAT, fields)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("logit_bias", {"7": 1}),
        ("functions", [{"name": "look"}]),
        ("function_call", "auto"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "v"}),
        ("tool_choice", {"type": "custom"}),
        ("response_format", {"type": "grammar"}),
        ("web_search_options", {"x": 1}),
    ],
)
def test_what_would_be_lost_is_refused_by_name(param, value):
    request = ChatRequest(messages=(HELLO,), extra=chats(**{param: value}))

    with pytest.raises(UnsupportedRequestError, match=f"`{param}`.*acme") as caught:
        check_foreign_params(request, GOOGLE, target="acme")

    assert caught.value.param == param
    check_foreign_params(request, CHAT, target="acme")


def test_what_asks_for_nothing_special_is_let_through():
    extra = chats(logprobs=False, modalities=["text"], logit_bias={}, functions=None)

    check_foreign_params(ChatRequest(messages=(HELLO,), extra=extra), GOOGLE, target="acme")


def test_what_messages_carry_besides_their_content_is_named_when_dropped():
    parts = (TextPart("Hi", extra=chats(cache_control={"type": "ephemeral"})), ImagePart("https://h/i.png", "high"))
    result = ToolResultPart("call_1", (TextPart("42", extra=chats(citations=[1])),))
    request = ChatRequest(
        messages=(
            ChatMessage("user", parts, extra=chats(name="ann", annotations=[], refusal=None)),
            ChatMessage("tool", [result]),
        ),
        tools=(Tool("look", extra=chats(defer=True)),),
        extra=chats(verbosity="low", metadata=None, max_completion_tokens=9),
    )

    assert sorted(foreign_names(request, GOOGLE)) == [
        "messages.cache_control", "messages.citations", "messages.detail", "messages.name", "tools.defer", "verbosity",
    ]  # fmt: skip
    assert list(foreign_names(request, CHAT)) == ["messages.detail"]

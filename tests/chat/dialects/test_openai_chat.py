import json
from uuid import UUID

import pytest

from chat.dialects.base import Facts
from chat.dialects.openai_chat import OpenAIDialect
from providers.error_table import served_error
from providers.errors import RateLimitedError, RequestRejectedError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    PartDelta,
    PartStarted,
    Passthrough,
    ReplyStarted,
    TextPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.validation import BadRequestError

DIALECT = OpenAIDialect()
CHAT_ID = UUID("019a9f3e-7c00-7000-8000-0000000000aa")
HEAD = {"id": "chatcmpl-019a9f3e7c00700080000000000000aa", "created": 1790000000}
USAGE = Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)
USAGE_OBJECT = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
HELLO = [{"role": "user", "content": "Hello"}]
REQUEST = ChatRequest(messages=(ChatMessage("user", "Hello"),))


def facts(**more):
    return Facts(chat_id=CHAT_ID, created_s=1790000000, model_name="asked", **more)


def own(**fields):
    return Passthrough(WireFormat.OPENAI_CHAT, fields)


def events(*deltas, wants_usage=False):
    """The JSON of all frames but `[DONE]`; each delta came alone."""
    encoder = DIALECT.encoder(facts(wants_usage=wants_usage), REQUEST)
    sent = b"".join(encoder.encode([delta]) for delta in deltas)
    sent += encoder.end(ChatResponse(choices=(), model_name="large-2026", usage=USAGE))
    *frames, done, rest = sent.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


@pytest.mark.parametrize(
    ("body", "is_stream", "wants_usage"),
    [
        ({}, False, False),
        ({"stream": None}, False, False),
        ({"stream": False, "stream_options": {"include_usage": True}}, False, True),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": False}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
    ],
)
def test_a_request_says_how_its_answer_is_to_be_sent(body, is_stream, wants_usage):
    parsed = DIALECT.read({"model": "large", "messages": HELLO, **body})

    assert (parsed.request.is_stream, parsed.wants_usage, parsed.provider) == (is_stream, wants_usage, None)
    assert parsed.request.model_name == "large"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"messages": []}, "messages"),
    ],
)
def test_a_request_at_fault_is_refused_by_its_field(body, param):
    with pytest.raises(BadRequestError) as refused:
        DIALECT.read({"messages": HELLO, **body})

    assert refused.value.param == param


def test_a_field_of_the_hubs_own_api_is_here_a_parameter_like_any_other():
    parsed = DIALECT.read({"messages": HELLO, "provider": {"order": ["a"]}})

    assert parsed.request.extra == own(provider={"order": ["a"]})


def test_a_whole_answer_is_a_chat_completion_of_the_hub():
    choice = Choice(parts=(TextPart("Hi"),), finish_reason="length", native_finish_reason="max_tokens")
    response = ChatResponse(
        choices=(choice,), model_name="large-2026", usage=USAGE, upstream_id="up-1", extra=own(system_fingerprint="fp")
    )

    assert DIALECT.answer(response, facts(), REQUEST) == {
        **HEAD,
        "object": "chat.completion",
        "model": "large-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "finish_reason": "length",
                "logprobs": None,
            }
        ],
        "usage": USAGE_OBJECT,
        "system_fingerprint": "fp",
    }


def test_an_answer_without_model_and_usage_has_the_model_that_was_asked():
    body = DIALECT.answer(ChatResponse(choices=()), facts(), REQUEST)

    assert (body["model"], body["usage"]) == ("asked", None)


@pytest.mark.parametrize(("head", "model"), [(ReplyStarted("large-2026", "up-1"), "large-2026"), (None, "asked")])
def test_every_frame_has_the_hubs_id_and_time(head, model):
    deltas = [PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "Hi"), ChoiceFinished(0, "stop"), UsageTold(USAGE)]

    *chunks, last = events(*([head] if head else []), *deltas, wants_usage=True)

    assert [(c["id"], c["created"], c["object"], c["model"]) for c in chunks] == [
        (HEAD["id"], HEAD["created"], "chat.completion.chunk", model)
    ] * len(chunks)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert {key: last[key] for key in HEAD} == HEAD


@pytest.mark.parametrize(("wants_usage", "told"), [(True, [None, None, USAGE_OBJECT]), (False, [])])
def test_usage_ends_a_stream_whose_caller_wants_it(wants_usage, told):
    found = events(
        PartStarted(0, 0, TextPart("Hi")), UsageTold(USAGE), ChoiceFinished(0, "stop"), wants_usage=wants_usage
    )

    assert [event["usage"] for event in found if "usage" in event] == told


def test_a_failure_is_told_in_the_envelope():
    problem = served_error(RequestRejectedError("Bad.", upstream_status=400, code="unsupported_value", param="top_p"))

    assert DIALECT.error(problem) == {
        "error": {"message": "Bad.", "type": "invalid_request_error", "param": "top_p", "code": "unsupported_value"}
    }


def test_a_stream_that_breaks_ends_in_one_error_frame():
    frame = DIALECT.error_frame(served_error(RateLimitedError("Slow down.")))

    assert frame.startswith(b'data: {"error":{')
    assert frame.endswith(b"}}\n\n")
    assert json.loads(frame.removeprefix(b"data: "))["error"]["code"] == "rate_limit_exceeded"

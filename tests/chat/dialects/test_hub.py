import json
from decimal import Decimal
from uuid import UUID

import pytest

from chat.dialects.base import Facts
from chat.dialects.hub import HubDialect
from providers.error_table import served_error
from providers.errors import NoProviderError
from providers.types import (
    Attempt,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    OpaquePart,
    PartDelta,
    PartStarted,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    TextPart,
    ToolCallPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.validation import BadRequestError

DIALECT = HubDialect()
CHAT_ID = UUID("019a9f3e-7c00-7000-8000-0000000000aa")
HELLO = [{"role": "user", "content": "Hello"}]
FAILED = Attempt(
    provider="ollama",
    model_name="llama3.2",
    ok=False,
    latency_ms=3,
    error_type="UnreachableError",
    error="connection refused",
)
SUCCEEDED = Attempt(provider="local", model_name="smollm2", ok=True, latency_ms=40)
USAGE = Usage(prompt_tokens=9, completion_tokens=5)
REQUEST = ChatRequest(messages=(ChatMessage("user", "Hello"),))
RESPONSE = ChatResponse(
    choices=(Choice(parts=(TextPart("Hi"),), finish_reason="length"),), model_name="smollm2-135m", usage=USAGE
)
ANSWER = {
    "id": "019a9f3e-7c00-7000-8000-0000000000aa",
    "content": "Hi",
    "model": "smollm2-135m",
    "provider": "local",
    "tokens_used": 14,
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "source": "provider",
    },
    "finish_reason": "length",
    "latency_ms": 45,
    "cost_usd": 0.0000125,
    "attempts": [
        {
            "provider": "ollama",
            "model": "llama3.2",
            "ok": False,
            "error_type": "UnreachableError",
            "error": "connection refused",
            "upstream_status": None,
            "latency_ms": 3,
        },
        {
            "provider": "local",
            "model": "smollm2",
            "ok": True,
            "error_type": None,
            "error": None,
            "upstream_status": None,
            "latency_ms": 40,
        },
    ],
}


def facts(**more):
    known = {
        "provider": "local",
        "model_name": "smollm2",
        "attempts": [FAILED, SUCCEEDED],
        "cost_usd": Decimal("0.0000125"),
        "latency_ms": 45,
    }
    return Facts(chat_id=CHAT_ID, created_s=1790000000, **{**known, **more})


def answer(response, **more):
    return DIALECT.answer(response, facts(**more), REQUEST)


def encode(*deltas):
    return DIALECT.encoder(facts(), REQUEST).encode(deltas)


def test_a_message_is_a_users_turn():
    parsed = DIALECT.read({"message": "Hello"})

    assert parsed.request.messages == (ChatMessage("user", "Hello"),)
    assert (parsed.provider, parsed.request.model_name, parsed.request.is_stream) == (None, "", False)


def test_a_conversation_is_read_as_it_is():
    parsed = DIALECT.read({"messages": [{"role": "system", "content": "Be brief."}, *HELLO], "message": None})

    assert [message.role for message in parsed.request.messages] == ["system", "user"]


def test_provider_model_stream_and_parameters_are_read():
    parsed = DIALECT.read(
        {"message": "Hello", "provider": "acme", "model": "large", "stream": True, "temperature": 0.5, "min_p": 0.1}
    )

    assert (parsed.provider, parsed.request.model_name, parsed.request.is_stream) == ("acme", "large", True)
    assert parsed.request.sampling.temperature == 0.5
    assert parsed.request.extra == Passthrough(WireFormat.OPENAI_CHAT, {"min_p": 0.1})


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        pytest.param({}, "message", "`message` or `messages` is missing", id="neither"),
        pytest.param({"message": None, "messages": None}, "message", "is missing", id="both-null"),
        pytest.param({"message": "Hello", "messages": HELLO}, "message", "not both", id="both"),
        pytest.param({"message": ""}, "message", "is empty", id="empty"),
        pytest.param({"message": " \n"}, "message", "is empty", id="blank"),
        pytest.param({"message": 1}, "message", "must be a string", id="number"),
        pytest.param({"message": HELLO}, "message", "must be a string", id="list-as-message"),
        pytest.param({"messages": []}, "messages", "at least one", id="no-messages"),
        pytest.param({"message": "Hello", "provider": 1}, "provider", "must be a string", id="provider-number"),
        pytest.param({"message": "Hello", "stream": "yes"}, "stream", "true or false", id="stream-text"),
        pytest.param({"message": "Hello", "temperature": "hot"}, "temperature", "must be a number", id="temperature"),
    ],
)
def test_a_request_at_fault_is_refused_by_its_field(body, param, words):
    with pytest.raises(BadRequestError, match=words) as refused:
        DIALECT.read(body)

    assert refused.value.param == param


def test_an_answer_has_exactly_its_fields():
    assert answer(RESPONSE) == ANSWER


def test_what_nobody_knows_is_null_and_not_nothing():
    body = answer(ChatResponse(choices=RESPONSE.choices), cost_usd=None)

    assert (body["tokens_used"], body["usage"], body["cost_usd"]) == (None, None, None)
    assert body["model"] == "smollm2"


def test_a_free_answer_costs_nothing():
    assert answer(RESPONSE, cost_usd=Decimal(0))["cost_usd"] == 0.0


def test_estimated_usage_says_so():
    usage = Usage(prompt_tokens=1, completion_tokens=1, source="estimated")

    body = answer(ChatResponse(choices=(), model_name="m", usage=usage))

    assert body["usage"]["source"] == "estimated"
    assert (body["content"], body["finish_reason"]) == ("", None)


def test_tool_calls_are_in_the_answer_when_there_are_any():
    custom = {"id": "call_2", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    parts = (ToolCallPart("call_1", "look", "{}"), OpaquePart(WireFormat.OPENAI_CHAT, custom, "tool_calls"))

    body = answer(ChatResponse(choices=(Choice(parts=parts), Choice(index=1, parts=parts)), model_name="m"))

    function = {"name": "look", "arguments": "{}"}
    assert body["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}, custom]
    assert body.keys() == ANSWER.keys() | {"tool_calls"}


def test_only_the_text_of_an_answer_is_its_content():
    parts = (ReasoningPart("Hm."), TextPart("Re"), TextPart("d."), RefusalPart("No."))

    body = answer(ChatResponse(choices=(Choice(parts=parts),), model_name="m"))

    assert body["content"] == "Red."
    assert body.keys() == ANSWER.keys()


def test_a_stream_sends_the_content_in_named_events():
    encoder = DIALECT.encoder(facts(), REQUEST)

    sent = [
        encoder.encode([ReplyStarted("m"), PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "Hel")]),
        encoder.encode([PartDelta(0, 0, "lo"), PartStarted(0, 1, TextPart("!"))]),
    ]

    head = b'event: chunk\ndata: {"id":"019a9f3e-7c00-7000-8000-0000000000aa","content":'
    assert sent == [head + b'"Hel"}\n\n', head + b'"lo"}\n\n' + head + b'"!"}\n\n']


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param([PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "")], id="empty-content"),
        pytest.param([PartStarted(0, 0, ReasoningPart("H")), PartDelta(0, 0, "m.")], id="reasoning"),
        pytest.param([PartStarted(0, 0, RefusalPart("N")), PartDelta(0, 0, "o.")], id="refusal"),
        pytest.param([ChoiceFinished(0, "stop")], id="end"),
        pytest.param([PartStarted(1, 0, TextPart("B")), PartDelta(1, 0, "C")], id="another-choice"),
        pytest.param([PartStarted(0, 0, ToolCallPart("call_1", "look", "")), PartDelta(0, 0, "{}")], id="tool-call"),
        pytest.param([UsageTold(USAGE)], id="usage"),
    ],
)
def test_what_is_no_content_is_left_for_the_end(silent):
    assert encode(*silent) == b""


def test_a_stream_ends_with_the_whole_answer():
    frame = DIALECT.encoder(facts(), REQUEST).end(RESPONSE)

    assert frame.startswith(b"event: done\ndata: ")
    assert frame.endswith(b"\n\n")
    assert json.loads(frame.removeprefix(b"event: done\ndata: ")) == ANSWER


def test_a_failure_is_told_in_the_envelope():
    problem = served_error(NoProviderError("All 2 providers failed."))

    envelope = {
        "error": {"type": "server_error", "message": "All 2 providers failed.", "code": "no_provider", "param": None}
    }
    assert DIALECT.error(problem) == envelope
    assert (
        DIALECT.error_frame(problem)
        == b"event: error\ndata: " + json.dumps(envelope, separators=(",", ":")).encode() + b"\n\n"
    )

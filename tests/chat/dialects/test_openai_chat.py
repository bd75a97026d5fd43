import json
from uuid import UUID

import pytest

from chat.dialects.base import Facts
from chat.dialects.openai_chat import OpenAIDialect
from providers.error_table import served_error
from providers.errors import RateLimitedError, RequestRejectedError
from providers.types import (
    ChatChunk,
    ChatResponse,
    Choice,
    ChoiceDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
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


def facts(**more):
    return Facts(chat_id=CHAT_ID, created_s=1790000000, model_name="asked", **more)


def answer(*choices, **more):
    return DIALECT.answer(ChatResponse(choices=choices, model_name="large-2026", **more), facts())


def frames(*chunks, wants_usage=False, response=None):
    """Everything that a stream sends, as bytes."""
    known = facts(wants_usage=wants_usage)
    sent = b"".join(DIALECT.frames(chunk, known) for chunk in chunks)
    sent += DIALECT.last_frames(response or ChatResponse(choices=(), model_name="large-2026"), known)
    return [frame + b"\n\n" for frame in sent.split(b"\n\n")[:-1]]


def events(*chunks, **options):
    """The JSON of all frames but `[DONE]`."""
    *sent, done = frames(*chunks, **options)
    assert done == b"data: [DONE]\n\n"
    return [json.loads(frame.removeprefix(b"data: ")) for frame in sent]


def deltas(*chunks):
    return [event["choices"][0]["delta"] for event in events(*chunks)]


def chunk(**delta):
    return ChatChunk(choices=(ChoiceDelta(**delta),), model_name="large-2026")


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
    asked = DIALECT.read({"model": "large", "messages": HELLO, **body})

    assert (asked.is_stream, asked.wants_usage, asked.provider) == (is_stream, wants_usage, None)
    assert asked.request.model_name == "large"


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
    asked = DIALECT.read({"messages": HELLO, "provider": {"order": ["a"]}})

    assert asked.request.extra == {"provider": {"order": ["a"]}}


def test_a_whole_answer_is_a_chat_completion():
    choice = Choice(content="Hi", finish_reason="length", native_finish_reason="max_tokens")

    assert answer(choice, usage=USAGE) == {
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
    }


def test_the_fields_of_an_answer_that_the_hub_does_not_know_are_kept():
    choice = Choice(content="Hi", extra={"annotations": []}, logprobs={"content": []})

    found = answer(choice, extra={"system_fingerprint": "fp_1", "created": 1})

    assert found["system_fingerprint"] == "fp_1"
    assert found["created"] == 1790000000
    assert found["choices"][0]["message"]["annotations"] == []
    assert found["choices"][0]["logprobs"] == {"content": []}


def test_an_answer_without_a_model_has_the_one_that_was_asked():
    found = DIALECT.answer(ChatResponse(choices=(), model_name=""), facts())

    assert found["model"] == "asked"


def test_usage_that_nobody_knows_is_null():
    assert answer(Choice(content="Hi"))["usage"] is None


def test_reasoning_and_refusal_stand_beside_the_content():
    message = answer(Choice(content="", reasoning="Hm.", refusal="No."))["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "", "refusal": "No.", "reasoning_content": "Hm."}


def test_parallel_tool_calls_of_a_whole_answer_are_all_there():
    calls = (ToolCall("call_1", "look", '{"q":1}'), ToolCall("call_2", "find", "{}", {"extra_content": {"x": 1}}))

    choice = answer(Choice(tool_calls=calls, finish_reason="tool_calls"))["choices"][0]

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q":1}'}},
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "find", "arguments": "{}"},
            "extra_content": {"x": 1},
        },
    ]


def test_a_tool_call_of_another_kind_is_relayed_as_it_came():
    wire = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "ls"}}

    choice = answer(Choice(tool_calls=(ToolCall("call_1", "", "", wire),)))["choices"][0]

    assert choice["message"]["tool_calls"] == [wire]


def test_several_choices_keep_their_index():
    found = answer(Choice(index=0, content="A"), Choice(index=1, content="B"))

    assert [(c["index"], c["message"]["content"]) for c in found["choices"]] == [(0, "A"), (1, "B")]


def test_a_stream_is_framed_to_the_byte():
    sent = frames(chunk(content="Hi"), chunk(finish_reason="stop"))

    head = (
        b'data: {"id":"chatcmpl-019a9f3e7c00700080000000000000aa","object":"chat.completion.chunk",'
        b'"created":1790000000,"model":"large-2026","choices":[{"index":0,"delta":'
    )
    assert sent == [
        head + b'{"role":"assistant","content":"Hi"},"finish_reason":null}]}\n\n',
        head + b'{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]


def test_the_role_comes_once_for_each_choice():
    found = events(
        ChatChunk(choices=(ChoiceDelta(index=0, content="A"), ChoiceDelta(index=1, content="B"))),
        chunk(index=1, content="b"),
        chunk(index=0, content="a"),
    )

    roles = [(c["index"], c["delta"].get("role")) for event in found for c in event["choices"]]
    assert roles == [(0, "assistant"), (1, "assistant"), (1, None), (0, None)]


@pytest.mark.parametrize("first", [{"content": ""}, {"content": None}, {"reasoning": "Hm."}, {"finish_reason": "stop"}])
def test_the_role_comes_first_whatever_comes_first(first):
    [delta] = deltas(chunk(**first))

    assert delta["role"] == "assistant"
    assert delta["content"] == ""


def test_usage_comes_last_without_choices_and_is_null_before_when_it_is_asked_for():
    response = ChatResponse(choices=(), model_name="large-2026", usage=USAGE)

    *chunks, last = events(chunk(content="Hi"), chunk(finish_reason="stop"), wants_usage=True, response=response)

    assert [event["usage"] for event in chunks] == [None, None]
    assert last == {
        **HEAD,
        "object": "chat.completion.chunk",
        "model": "large-2026",
        "choices": [],
        "usage": USAGE_OBJECT,
    }


def test_usage_is_not_mentioned_unless_it_is_asked_for():
    upstream_usage = ChatChunk(usage=USAGE)
    response = ChatResponse(choices=(), model_name="m", usage=USAGE)

    found = events(chunk(content="Hi"), upstream_usage, chunk(finish_reason="stop"), response=response)

    assert len(found) == 2
    assert not any("usage" in event for event in found)


def test_the_usage_chunk_of_a_provider_is_not_sent_beside_the_hubs():
    response = ChatResponse(choices=(), model_name="m", usage=USAGE)

    found = events(chunk(content="Hi"), ChatChunk(usage=USAGE), wants_usage=True, response=response)

    assert [bool(event["usage"]) for event in found] == [False, True]


def test_every_frame_has_the_same_id_and_time():
    response = ChatResponse(choices=(), model_name="m", usage=USAGE)
    first = ChatChunk(choices=(ChoiceDelta(content="Hi"),), upstream_id="up-1", extra={"created": 5})

    found = events(first, chunk(finish_reason="stop"), wants_usage=True, response=response)

    assert {(event["id"], event["created"], event["object"]) for event in found} == {
        (HEAD["id"], HEAD["created"], "chat.completion.chunk")
    }


def test_a_frame_without_a_model_has_the_one_that_was_asked():
    [event] = events(ChatChunk(choices=(ChoiceDelta(content="Hi"),)))

    assert event["model"] == "asked"


def test_the_pieces_of_parallel_tool_calls_are_relayed():
    found = deltas(
        chunk(tool_calls=(ToolCallDelta(0, "call_1", "look"),)),
        chunk(tool_calls=(ToolCallDelta(0, arguments='{"q":'),)),
        chunk(tool_calls=(ToolCallDelta(1, "call_2", "find"),)),
        chunk(tool_calls=(ToolCallDelta(0, arguments="1}"), ToolCallDelta(1, arguments="{}"))),
    )

    assert [delta["tool_calls"] for delta in found] == [
        [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"q":'}}],
        [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "find", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "{}"}}],
    ]


def test_parallel_tool_calls_within_the_last_chunk_are_both_relayed():
    both = (ToolCallDelta(0, "call_1", "look", "{}"), ToolCallDelta(1, "call_2", "find", "{}"))

    [event] = events(chunk(tool_calls=both, finish_reason="tool_calls"))

    assert [call["id"] for call in event["choices"][0]["delta"]["tool_calls"]] == ["call_1", "call_2"]
    assert event["choices"][0]["finish_reason"] == "tool_calls"


def test_what_a_piece_of_a_tool_call_holds_besides_is_relayed():
    signed = ToolCallDelta(0, "call_1", "look", "{}", {"extra_content": {"google": {"thought_signature": "Eq"}}})

    [delta] = deltas(chunk(tool_calls=(signed,)))

    assert delta["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "Eq"}}


def test_the_pieces_of_another_kind_of_call_are_relayed_as_they_came():
    begun = ToolCallDelta(0, "call_1", extra={"type": "custom", "custom": {"name": "run", "input": ""}})
    more = ToolCallDelta(0, extra={"custom": {"input": "ls"}})

    found = deltas(chunk(tool_calls=(begun,)), chunk(tool_calls=(more,)))

    assert [delta["tool_calls"] for delta in found] == [
        [{"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "run", "input": ""}}],
        [{"index": 0, "custom": {"input": "ls"}}],
    ]


def test_reasoning_refusal_and_logprobs_are_relayed():
    [event] = events(chunk(reasoning="Hm.", refusal="No.", logprobs={"content": []}, extra={"audio": {"id": "a"}}))

    choice = event["choices"][0]
    assert choice["logprobs"] == {"content": []}
    assert choice["delta"] == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "Hm.",
        "refusal": "No.",
        "audio": {"id": "a"},
    }


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\n", "\r"])
def test_a_line_end_within_the_content_ends_no_frame(end):
    [frame, _done] = frames(chunk(content=f"a{end}b"))

    assert len(frame.decode().splitlines()) == 2
    assert json.loads(frame.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == f"a{end}b"


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

import json
from contextlib import suppress
from dataclasses import replace
from functools import cache

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors
from providers.error_table import served_error
from providers.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    FilePart,
    ImagePart,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Sampling,
    Signature,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.anthropic_messages import (
    JSON_INSTRUCTION,
    AnthropicStreamDecoder,
    AnthropicStreamEncoder,
    decode_error,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    without_refused,
)
from providers.wire.anthropic_messages_answers import UNSHOWN_FILE
from providers.wire.codec import ReplyHead
from providers.wire.frames import FrameDecoder
from providers.wire.sse import SseParser
from providers.wire.validation import BadRequestError
from tests.providers.backends.mutations import mutated
from tests.providers.wire.assembling import assembled, cut, decoded, decoded_bytes, deltas_of, on_slow_machines_too
from tests.wire import sample

MESSAGES = WireFormat.ANTHROPIC_MESSAGES
USAGE = Usage(prompt_tokens=78, completion_tokens=30, cached_tokens=64, cache_write_tokens=5, reasoning_tokens=12)
PNG_DATA = sample("anthropic", "request")["messages"][0]["content"][1]["source"]["data"]
HELLO = ChatMessage("user", "Hi")
HEAD = ReplyHead(id="msg_1", created_s=1, model_name="claude", request=ChatRequest(messages=(HELLO,)))
LOOK = ToolCallPart("toolu_1", "look", '{"q":"x"}')
NOW = ToolCallPart("toolu_2", "now", "{}")
ALL_THINKING = ("adaptive", "enabled", "disabled")


def signed(value):
    return Signature(MESSAGES, value)


def own(**fields):
    return Passthrough(MESSAGES, fields)


def openai_extra(**fields):
    return Passthrough(WireFormat.OPENAI_CHAT, fields)


def result(call_id, *parts, **fields):
    return ChatMessage("tool", [ToolResultPart(call_id, parts or (TextPart("42"),), **fields)])


def encoded(*messages, stream=False, default_max_tokens=4096, takes_sampling=True, thinking=(), **fields):
    request = ChatRequest(messages=messages or (HELLO,), model_name="claude-sonnet-4-6", **fields)
    return encode_request(
        request,
        stream=stream,
        default_max_tokens=default_max_tokens,
        takes_sampling=takes_sampling,
        thinking=thinking,
    )


def turns_of(*messages, **options):
    return encoded(*messages, **options).body["messages"]


def frames_of(name):
    return [frame["data"] for frame in sample("anthropic", name)]


def text_block(text):
    return {"type": "text", "text": text}


def test_a_request_becomes_the_documented_one():
    request = encoded(
        ChatMessage("system", "Be brief."),
        ChatMessage("developer", "Answer in English."),
        ChatMessage(
            "user",
            [
                TextPart("What is it?"),
                ImagePart(f"data:image/png;base64,{PNG_DATA}"),
                ImagePart("https://images.example/cat.png"),
            ],
        ),
        ChatMessage("assistant", "A cat."),
        ChatMessage("system", "Use one word."),
        ChatMessage("user", "Its colour?"),
        sampling=Sampling(temperature=1.4, top_p=0.9, top_k=40, max_tokens=500, stop=("END",)),
        user="u-1",
    )

    assert (request.body, request.dropped_params) == (sample("anthropic", "request"), ("temperature",))


def test_tools_thoughts_and_schemas_are_carried():
    look = {"type": "object", "properties": {"q": {"type": "string"}}}
    request = encoded(
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "What is at x?"),
        ChatMessage(
            "assistant",
            [
                ReasoningPart("I look.", signed("EqQBCg")),
                ReasoningPart("", signed("EmwKAh"), is_redacted=True),
                TextPart("Let me look."),
                LOOK,
                NOW,
            ],
        ),
        result("toolu_1"),
        result("toolu_2", TextPart("no clock"), is_error=True),
        ChatMessage("user", "Go on."),
        tools=(Tool("look", "Looks something up.", look, strict=True), Tool("now")),
        tool_choice=ToolChoice("auto"),
        parallel_tool_calls=False,
        output_format=OutputFormat("json_schema", {"type": "object"}, name="r"),
        reasoning=Reasoning("low"),
        stream=True,
        thinking=ALL_THINKING,
    )

    assert (request.body, request.dropped_params) == (sample("anthropic", "request_tools"), ())


@pytest.mark.parametrize("name", ["request", "request_tools", "request_agent"])
def test_a_request_in_this_format_goes_out_as_it_came(name):
    body = sample("anthropic", name)

    request = decode_request(body)

    assert encode_request(request, stream=request.is_stream, default_max_tokens=1).body == body


def test_what_an_agent_asks_is_read():
    request = decode_request(sample("anthropic", "request_agent"))

    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "system"]
    assert request.messages[0].parts[1] == TextPart(
        "Be brief.", extra=own(cache_control={"type": "ephemeral", "ttl": "1h"})
    )
    file, image, _ = request.messages[1].parts
    assert file == FilePart("data:text/plain;base64,R3LDvMOfZQ==", "a.txt", extra=own(citations={"enabled": True}))
    assert image == OpaquePart(MESSAGES, {"type": "image", "source": {"type": "file", "file_id": "file_1"}})
    thought, search, found, call = request.messages[2].parts
    assert (thought, call.name, call.arguments) == (ReasoningPart("", signed("EqQBCg")), "read", '{"path":"a"}')
    assert [part.wire["type"] for part in (search, found)] == ["server_tool_use", "web_search_tool_result"]
    assert request.messages[3].parts[0].parts == (TextPart("A cat."), ImagePart("data:image/png;base64,AA=="))
    assert [type(tool) for tool in request.tools] == [Tool, OpaqueTool]
    assert (request.reasoning, request.user, request.is_stream) == (Reasoning("high"), "u-1", True)
    assert request.extra.fields.keys() == {"thinking", "output_config", "context_management", "metadata"}


def test_two_results_and_a_text_are_three_messages():
    blocks = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"},
        {"type": "tool_result", "tool_use_id": "toolu_2"},
        text_block("Go on."),
    ]

    request = decode_request({"messages": [{"role": "user", "content": blocks}]})

    assert request.messages == (
        result("toolu_1"),
        ChatMessage("tool", [ToolResultPart("toolu_2", ())]),
        ChatMessage("user", "Go on."),
    )


@pytest.mark.parametrize(
    ("fields", "reasoning", "extra"),
    [
        pytest.param({}, None, {}, id="nothing"),
        pytest.param({"thinking": {"type": "disabled"}}, Reasoning("none"), {}, id="disabled"),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget_tokens=2000), {}, id="enabled"
        ),
        pytest.param({"output_config": {"effort": "max"}}, Reasoning("max"), {}, id="effort-alone"),
        pytest.param({"thinking": {"type": "adaptive"}}, None, {"thinking": {"type": "adaptive"}}, id="adaptive"),
        pytest.param(
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            Reasoning("none"),
            {"output_config": {"effort": "low"}},
            id="disabled-with-effort",
        ),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
            Reasoning(budget_tokens=2000),
            {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
            id="display",
        ),
    ],
)
def test_what_is_said_of_thinking_is_read_and_said_again(fields, reasoning, extra):
    request = decode_request({"messages": [{"role": "user", "content": "Hi"}], **fields})

    body = encode_request(request, stream=False, default_max_tokens=1, thinking=ALL_THINKING).body
    assert (request.reasoning, request.extra) == (reasoning, own(**extra))
    assert {key: body[key] for key in ("thinking", "output_config") if key in body} == fields


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "messages", "missing_parameter"),
        ({"messages": []}, "messages", None),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", None),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", None),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", None),
        ({"messages": [{"role": "user", "content": "x"}], "system": [{"type": "image"}]}, "system[0].type", None),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens", None),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]}, "tools[0].input_schema", None),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": "1"}, "temperature", None),
    ],
)
def test_a_body_at_fault_is_told_by_its_path(body, param, code):
    with pytest.raises(BadRequestError) as caught:
        decode_request(body)

    assert (caught.value.param, caught.value.code) == (param, code)


def test_max_tokens_has_a_default():
    assert encoded(default_max_tokens=100).body["max_tokens"] == 100
    assert encoded(sampling=Sampling(max_tokens=7)).body["max_tokens"] == 7


def test_sampling_that_is_not_taken_is_dropped_and_named():
    request = encoded(sampling=Sampling(temperature=0.5, top_k=3), takes_sampling=False)

    assert not {"temperature", "top_k"} & request.body.keys()
    assert request.dropped_params == ("temperature", "top_k")


def test_what_merely_tunes_is_dropped_and_named():
    request = encoded(
        ChatMessage("user", "Hi", extra=openai_extra(name="ann", audio=None)),
        sampling=Sampling(seed=1, presence_penalty=0.5, frequency_penalty=0.5, n=1, top_logprobs=2),
        reasoning=Reasoning("low"),
        tool_choice=ToolChoice("required"),
        parallel_tool_calls=False,
        extra=openai_extra(verbosity="low", store=False),
    )

    assert request.dropped_params == (
        "frequency_penalty", "messages.name", "parallel_tool_calls", "presence_penalty", "reasoning_effort", "seed",
        "store", "tool_choice", "top_logprobs", "verbosity",
    )  # fmt: skip
    assert request.body.keys() == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(n=2)}, "n"),
        ({"sampling": Sampling(logprobs=True)}, "logprobs"),
        ({"extra": openai_extra(logit_bias={"1": 2})}, "logit_bias"),
        ({"extra": openai_extra(modalities=["audio"])}, "modalities"),
        ({"tools": (OpaqueTool(WireFormat.OPENAI_RESPONSES, {"type": "web_search"}),)}, "tools"),
        (
            {"tools": (Tool("f", None, {"properties": {"q": {"type": "string", "pattern": "a"}}}, strict=True),)},
            "tools",
        ),
        (
            {"output_format": OutputFormat("json_schema", {"type": "integer", "minimum": 1}, strict=True)},
            "response_format",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused(fields, param):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        encoded(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("role", "part", "error"),
    [
        pytest.param("user", ImagePart("file:///etc/passwd"), errors.RequestRejectedError, id="local-file"),
        pytest.param("user", FilePart(file_id="file-1"), errors.UnsupportedRequestError, id="file-at-openai"),
        pytest.param("user", FilePart("data:text/plain;base64,/w=="), errors.RequestRejectedError, id="not-text"),
        pytest.param("user", FilePart("data:video/mp4;base64,AA=="), errors.UnsupportedRequestError, id="video"),
        pytest.param("user", AudioPart("AA==", "wav"), errors.UnsupportedRequestError, id="sound"),
        pytest.param("user", OpaquePart(WireFormat.OPENAI_CHAT, {}), errors.UnsupportedRequestError, id="foreign"),
        pytest.param("assistant", ImagePart("data:image/png;base64,A="), errors.UnsupportedRequestError, id="image"),
        pytest.param("assistant", ToolCallPart("c", "look", "{"), errors.UnsupportedRequestError, id="not-json"),
        pytest.param("system", ImagePart("https://h.example/a.png"), errors.UnsupportedRequestError, id="instruction"),
    ],
)
def test_content_that_cannot_be_said_is_refused(role, part, error):
    with pytest.raises(error) as caught:
        encoded(HELLO, ChatMessage(role, [part]))

    assert (type(caught.value), caught.value.param) == (error, "messages")


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            ImagePart("data:image/jpg;base64,AA=="),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}},
        ),
        (
            FilePart("data:image/PNG;base64,AA=="),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        ),
        (
            FilePart("data:application/pdf;base64,AA==", "a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                "title": "a.pdf",
            },
        ),
        (
            FilePart("https://h.example/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://h.example/a.pdf"}},
        ),
        (
            FilePart("data:text/markdown;base64,SGk="),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
        ),
        (OpaquePart(MESSAGES, {"type": "search_result"}), {"type": "search_result"}),
        (RefusalPart("No."), {"type": "text", "text": "No."}),
    ],
)
def test_images_and_documents_are_carried(part, block):
    assert turns_of(ChatMessage("user", [part])) == [{"role": "user", "content": [block]}]


def test_an_image_in_a_tools_result_stays_in_it():
    image = ImagePart("https://h.example/a.png")

    turns = turns_of(ChatMessage("assistant", [LOOK]), result("toolu_1", TextPart("A cat."), image))

    assert turns[1]["content"][0]["content"] == [
        {"type": "text", "text": "A cat."},
        {"type": "image", "source": {"type": "url", "url": "https://h.example/a.png"}},
    ]


def test_results_stand_before_what_the_user_says_beside_them():
    calls = ChatMessage("assistant", [LOOK, NOW])

    turns = turns_of(HELLO, calls, result("toolu_1"), ChatMessage("user", "And?"), result("toolu_2"))

    assert [block["type"] for block in turns[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]


def test_neighbouring_turns_of_one_side_become_one_and_blank_texts_none():
    turns = turns_of(
        ChatMessage("user", "One"),
        ChatMessage("user", " \n"),
        ChatMessage("assistant"),
        ChatMessage("user", [TextPart(""), TextPart("Two")]),
    )

    assert turns == [{"role": "user", "content": [text_block("One"), text_block("Two")]}]


def test_the_last_words_of_the_assistant_end_without_white_space():
    turns = turns_of(HELLO, ChatMessage("assistant", "Well. "), HELLO, ChatMessage("assistant", "The answer is: \n"))

    assert [turn["content"][0]["text"] for turn in turns] == ["Hi", "Well. ", "Hi", "The answer is:"]


@pytest.mark.parametrize("stop", [("\n",), ("END", " ")])
def test_stops_of_white_space_alone_are_left_out_and_named(stop):
    request = encoded(sampling=Sampling(stop=stop))

    assert request.body.get("stop_sequences") == (["END"] if "END" in stop else None)
    assert request.dropped_params == ("stop",)


def test_thoughts_of_other_models_stay_behind():
    foreign = Signature(WireFormat.GOOGLE, "Cr")

    turns = turns_of(
        HELLO, ChatMessage("assistant", [ReasoningPart("hm", foreign), ReasoningPart("hm"), TextPart("So.")])
    )

    assert turns[1]["content"] == [text_block("So.")]


def test_ids_of_calls_are_spelled_in_the_letters_that_are_taken_and_stay_apart():
    calls = [ToolCallPart(id_, "look", "") for id_ in ("a.b", "a:b", "")]

    turns = turns_of(HELLO, ChatMessage("assistant", calls), *(result(call.id) for call in calls))

    called = [block["id"] for block in turns[1]["content"]]
    assert [block["tool_use_id"] for block in turns[2]["content"]] == called
    assert len(set(called)) == 3
    assert all(id_.replace("_", "").isalnum() for id_ in called)


def test_instructions_alone_are_refused():
    with pytest.raises(errors.RequestRejectedError, match="at least one message") as caught:
        encoded(ChatMessage("system", "Be brief."))

    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("choice", "is_parallel", "wire"),
    [
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), True, {"type": "any"}),
        (ToolChoice("tool", "look"), False, {"type": "tool", "name": "look", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
    ],
)
def test_each_tool_choice_has_its_type(choice, is_parallel, wire):
    request = encoded(tools=(Tool("look"),), tool_choice=choice, parallel_tool_calls=is_parallel)

    assert (request.body.get("tool_choice"), request.dropped_params) == (wire, ())


@pytest.mark.parametrize(
    ("reasoning", "thinking", "fields"),
    [
        pytest.param(Reasoning("none"), ALL_THINKING, {"thinking": {"type": "disabled"}}, id="off"),
        pytest.param(Reasoning(), ALL_THINKING, {}, id="nothing"),
        pytest.param(
            Reasoning("minimal"),
            ("adaptive",),
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
            id="effort",
        ),
        pytest.param(
            Reasoning(budget_tokens=8192),
            ALL_THINKING,
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "medium"}},
            id="budget-as-effort",
        ),
        pytest.param(
            Reasoning("medium"), ("enabled",), {"thinking": {"type": "enabled", "budget_tokens": 8192}}, id="budget"
        ),
    ],
)
def test_effort_is_said_in_the_way_that_the_model_has(reasoning, thinking, fields):
    request = encoded(reasoning=reasoning, thinking=thinking)

    assert (fields.items() <= request.body.items(), request.dropped_params) == (True, ())


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        pytest.param({"reasoning": Reasoning("none")}, ("adaptive",), id="always-thinks"),
        pytest.param({"reasoning": Reasoning("high")}, (), id="never-thinks"),
        pytest.param(
            {"reasoning": Reasoning("high"), "sampling": Sampling(max_tokens=1024)}, ("enabled",), id="too-short"
        ),
        pytest.param(
            {"reasoning": Reasoning("low"), "tools": (Tool("f"),), "tool_choice": ToolChoice("required")},
            ("enabled",),
            id="forced-call",
        ),
    ],
)
def test_effort_that_cannot_be_said_is_dropped_and_named(fields, thinking):
    request = encoded(**fields, thinking=thinking)

    assert ("thinking" in request.body, request.dropped_params) == (False, ("reasoning_effort",))


@pytest.mark.parametrize(
    ("thoughts", "is_thinking"),
    [([], False), ([ReasoningPart("hm", signed("Eq"))], True), ([ReasoningPart("")], False)],
)
def test_a_model_goes_on_thinking_only_after_a_thought_of_its_own(thoughts, is_thinking):
    messages = (HELLO, ChatMessage("assistant", [*thoughts, LOOK]), result("toolu_1"))

    request = encoded(*messages, reasoning=Reasoning("low"), thinking=("enabled",))

    assert ("thinking" in request.body) is is_thinking
    assert request.dropped_params == (() if is_thinking else ("reasoning_effort",))


def test_a_budget_is_less_than_the_length_of_the_answer():
    short = encoded(reasoning=Reasoning("high"), thinking=("enabled",), sampling=Sampling(max_tokens=2000)).body
    free = encoded(reasoning=Reasoning("low"), thinking=("enabled",)).body

    assert (short["thinking"]["budget_tokens"], short["max_tokens"]) == (1999, 2000)
    assert (free["thinking"]["budget_tokens"], free["max_tokens"]) == (1024, 5120)


def test_a_model_that_thinks_takes_no_sampling():
    request = encoded(reasoning=Reasoning("low"), thinking=("adaptive",), sampling=Sampling(temperature=0.5))

    assert ("temperature" in request.body, request.dropped_params) == (False, ("temperature",))


def test_a_json_object_is_asked_for_in_words():
    request = encoded(ChatMessage("system", "Be brief."), HELLO, output_format=OutputFormat("json_object"))

    assert request.body["system"] == [text_block("Be brief."), text_block(JSON_INSTRUCTION)]
    assert request.dropped_params == ("response_format",)


def test_bounds_that_no_schema_may_have_become_words_and_are_named():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 1, "description": "In years."},
            "mail": {"type": ["string", "null"], "format": "email"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1},
            "kind": {"oneOf": [{"const": "a"}, {"$ref": "#/$defs/more"}]},
        },
        "required": ["age"],
        "$defs": {"more": {"type": "object", "additionalProperties": {"type": "string"}}},
    }

    request = encoded(output_format=OutputFormat("json_schema", schema, description="A person."))

    assert request.dropped_params == ("response_format.schema",)
    assert request.body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": "In years.\n\n{minimum: 1}"},
            "mail": {"type": ["string", "null"], "format": "email"},
            "tags": {"type": "array", "items": {"type": "string", "description": "{maxLength: 3}"}, "minItems": 1},
            "kind": {"anyOf": [{"const": "a"}, {"$ref": "#/$defs/more"}]},
        },
        "required": ["age"],
        "$defs": {"more": {"type": "object", "properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
        "description": "A person.",
    }


def test_a_strict_schema_within_the_bounds_is_kept():
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "additionalProperties": False}

    request = encoded(output_format=OutputFormat("json_schema", schema, strict=True))

    assert request.body["output_config"]["format"]["schema"] == schema


def test_a_tool_without_a_schema_takes_an_object():
    body = encoded(tools=(Tool("a"), Tool("b", None, {"properties": {}}))).body

    assert [tool["input_schema"] for tool in body["tools"]] == [
        {"type": "object"},
        {"type": "object", "properties": {}},
    ]


def refusal(message):
    return decode_error(400, {"error": {"type": "invalid_request_error", "message": message}})


@pytest.mark.parametrize(
    ("message", "left", "dropped"),
    [
        ("`temperature` is deprecated for this model.", set(), ("seed", "temperature", "top_p")),
        ("`temperature` and `top_p` cannot both be specified for this model.", {"temperature"}, ("seed", "top_p")),
    ],
)
def test_a_refused_sampling_parameter_is_left_out_the_next_time(message, left, dropped):
    call = encoded(sampling=Sampling(temperature=0.5, top_p=0.9, seed=1))

    again = without_refused(call, refusal(message))

    assert ({"temperature", "top_p"} & again.body.keys(), again.dropped_params) == (left, dropped)


def test_another_refusal_is_not_asked_again():
    call = encoded(sampling=Sampling(temperature=0.5))

    assert without_refused(call, refusal("top_p: out of range")) is None
    assert without_refused(call, errors.UpstreamError("`top_p` is deprecated")) is None
    assert without_refused(encoded(), refusal("`top_p` is deprecated")) is None


def test_a_reply_becomes_an_answer():
    response = decode_reply(sample("anthropic", "reply"))

    choice = response.choices[0]
    thought = ReasoningPart("A fur colour is asked for.", signed("EqQBCg"))
    assert choice.parts == (thought, TextPart("Gr"), TextPart("ey."))
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "end_turn")
    assert (response.model_name, response.upstream_id) == ("claude-sonnet-4-6-20260217", "msg_01")
    assert response.usage == USAGE


def test_tool_calls_in_a_reply_are_read():
    response = decode_reply(sample("anthropic", "reply_tool_use"))

    assert (response.finish_reason, response.choices[0].parts) == ("tool_calls", (TextPart("Let me look."), LOOK, NOW))


def test_what_only_this_format_knows_stays_in_its_place():
    body = sample("anthropic", "reply_server_tool")

    response = decode_reply(body)

    thought, search, found, text = response.choices[0].parts
    assert thought == ReasoningPart("", signed("EmwKAh"), is_redacted=True)
    assert [search, found] == [OpaquePart(MESSAGES, block) for block in body["content"][1:3]]
    assert text.extra == own(citations=body["content"][3]["citations"])
    assert response.choices[0].extra == own(stop_sequence="END")
    assert encode_reply(response, replace(HEAD, id="msg_03"))["content"] == body["content"]


@pytest.mark.parametrize(
    ("native", "canonical"),
    [
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("compaction", "stop"),
        ("a_reason_of_tomorrow", "stop"),
        (None, "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("sensitive", "content_filter"),
    ],
)
def test_stop_reasons_are_translated(native, canonical):
    choice = decode_reply(sample("anthropic", "reply") | {"stop_reason": native}).choices[0]

    assert (choice.finish_reason, choice.native_finish_reason) == (canonical, native)


@pytest.mark.parametrize("native", ["error", "insufficient_system_resource"])
def test_a_reason_that_is_a_fault_of_the_provider_fails(native):
    frame = {"type": "message_delta", "delta": {"stop_reason": native}}

    with pytest.raises(errors.UpstreamError, match=native) as caught:
        decode_reply(sample("anthropic", "reply") | {"stop_reason": native})
    with pytest.raises(errors.UpstreamError, match=native):
        decoded(AnthropicStreamDecoder(), [*frames_of("stream")[:8], frame])
    assert served_error(caught.value).code == "provider_error"


def test_calls_make_a_plain_end_one_for_tools():
    response = decode_reply(sample("anthropic", "reply_tool_use") | {"stop_reason": "end_turn"})

    assert response.finish_reason == "tool_calls"


def test_what_is_not_needed_is_read_liberally():
    body = {"id": 12345, "model": None, "content": [text_block("Hi")], "usage": {"input_tokens": "9"}}

    response = decode_reply(body)

    assert (response.content, response.finish_reason, response.upstream_id, response.usage) == (
        "Hi",
        "stop",
        "12345",
        None,
    )


def test_an_answer_without_content_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="content"):
        decode_reply({"id": "msg_1", "stop_reason": "end_turn"})


@pytest.mark.parametrize(
    "usage", [{}, {"input_tokens": 9}, {"output_tokens": 9}, {"input_tokens": 0, "output_tokens": 0}, None]
)
def test_a_usage_that_is_not_told_is_none(usage):
    assert decode_reply({"content": [text_block("Hi")], "usage": usage}).usage is None


@pytest.mark.parametrize(
    ("stream", "reply"),
    [("stream", "reply"), ("stream_tool_use", "reply_tool_use"), ("stream_server_tool", "reply_server_tool")],
)
def test_a_stream_becomes_the_answer(stream, reply):
    decoder = AnthropicStreamDecoder()

    response = assembled(decoded(decoder, frames_of(stream)))

    whole = decode_reply(sample("anthropic", reply))
    assert response.choices[0].text == whole.choices[0].text
    assert (response.usage, response.extra) == (whole.usage, whole.extra)
    assert replace(response.choices[0], parts=()) == replace(whole.choices[0], parts=())
    assert decoder.is_finished


def test_the_parts_of_a_stream_are_whole():
    parts = assembled(decoded(AnthropicStreamDecoder(), frames_of("stream_tool_use"))).choices[0].parts

    assert [(part.name, json.loads(part.arguments)) for part in parts[1:]] == [("look", {"q": "x"}), ("now", {})]
    parts = assembled(decoded(AnthropicStreamDecoder(), frames_of("stream_server_tool"))).choices[0].parts
    assert parts == decode_reply(sample("anthropic", "reply_server_tool")).choices[0].parts


def test_the_usage_of_a_stream_starts_with_the_prompt_and_ends_complete():
    usages = [
        delta.usage for delta in decoded(AnthropicStreamDecoder(), frames_of("stream")) if isinstance(delta, UsageTold)
    ]

    assert (usages[0].prompt_tokens, usages[0].completion_tokens) == (78, 1)
    assert usages[-1] == USAGE


def test_a_later_count_of_nothing_does_not_erase_an_earlier_one():
    frames = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 0, "output_tokens": 5}},
    ]

    assert decoded(AnthropicStreamDecoder(), frames)[-1] == UsageTold(Usage(prompt_tokens=9, completion_tokens=5))


def test_a_plain_frame_is_one_delta():
    decoder = AnthropicStreamDecoder()
    decoded(decoder, frames_of("stream")[:7])

    assert decoder.decode(frames_of("stream")[7]) == [PartStarted(0, 1, TextPart("")), PartDelta(0, 1, "Gr")]
    assert decoder.decode(frames_of("stream")[8]) == (PartDelta(0, 1, "ey."),)


def block_start(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_delta(index, **delta):
    return {"type": "content_block_delta", "index": index, "delta": delta}


def test_calls_that_share_an_index_are_two():
    frames = [
        block_start(0, type="tool_use", id="a1", name="look", input={}),
        block_delta(0, type="input_json_delta", partial_json='{"q":1}'),
        block_start(0, type="tool_use", id="a2", name="look", input={"q": 2}),
        {"type": "message_stop"},
    ]

    [choice] = assembled(decoded(AnthropicStreamDecoder(), frames)).choices

    assert choice.parts == (ToolCallPart("a1", "look", '{"q":1}'), ToolCallPart("a2", "look", '{"q":2}'))
    assert choice.finish_reason == "tool_calls"


def test_a_text_whose_beginning_was_not_told_is_not_lost():
    frames = [block_delta(0, type="text_delta", text="Hi"), {"type": "message_stop"}]

    assert assembled(decoded(AnthropicStreamDecoder(), frames)).content == "Hi"


def test_arguments_of_a_call_that_was_not_named_break_the_stream():
    with pytest.raises(errors.MalformedReplyError, match="did not name"):
        decoded(AnthropicStreamDecoder(), [block_delta(0, type="input_json_delta", partial_json="{}")])


def test_half_a_character_in_whole_arguments_loses_no_more_than_itself():
    frames = [
        block_start(0, type="tool_use", id="a", name="look", input={"q": "A\ud83d", "r": "\ud83d\ude00"}),
        {"type": "message_stop"},
    ]

    [part] = assembled(decoded(AnthropicStreamDecoder(), frames)).choices[0].parts

    assert json.loads(part.arguments) == {"q": "A\ufffd", "r": "\U0001f600"}


def test_a_character_that_comes_in_two_frames_is_joined():
    decoder = FrameDecoder(AnthropicStreamDecoder())
    frames = [
        block_delta(0, type="text_delta", text="A\ud83d"),
        block_delta(0, type="text_delta", text="\ude00B"),
        block_start(1, type="tool_use", id="a", name="look", input={}),
        block_delta(1, type="input_json_delta", partial_json='{"q":"\ud83d'),
        block_delta(1, type="input_json_delta", partial_json='\ude00"}'),
        {"type": "message_stop"},
    ]

    deltas = [delta for frame in frames for delta in decoder.decode(json.dumps(frame).encode())]

    parts = assembled(deltas).choices[0].parts
    assert parts == (TextPart("A\U0001f600B"), ToolCallPart("a", "look", '{"q":"\U0001f600"}'))


def test_a_stream_without_message_stop_is_not_finished():
    decoder = AnthropicStreamDecoder()
    decoded(decoder, frames_of("stream")[:-1])

    assert not decoder.is_finished


@pytest.mark.parametrize("is_marked", [True, False])
def test_each_mark_of_the_end_counts_where_no_reason_came(is_marked):
    decoder = AnthropicStreamDecoder()
    deltas = decoded(decoder, frames_of("stream")[:9])

    deltas += decoder.end_mark() if is_marked else decoder.decode({"type": "message_stop"})

    assert assembled(deltas).finish_reason == "stop"
    assert decoder.is_finished


def test_a_mark_of_the_end_alone_is_no_answer():
    decoder = AnthropicStreamDecoder()

    assert (decoder.end_mark(), decoder.is_finished) == ([], False)


@pytest.mark.parametrize("frame", [{"type": "ping"}, {"type": "an_event_of_tomorrow"}, {}])
def test_events_that_nobody_knows_say_nothing(frame):
    assert AnthropicStreamDecoder().decode(frame) == []


MUCH = "x" * 1024 * 1024


@pytest.mark.parametrize(
    ("block", "delta", "error"),
    [
        pytest.param({"type": "text", "text": ""}, None, errors.MalformedReplyError, id="blocks"),
        pytest.param({"type": "text", "more": MUCH}, None, errors.AnswerTooLargeError, id="large-blocks"),
        pytest.param(
            {"type": "server_tool_use"},
            {"type": "input_json_delta", "partial_json": MUCH},
            errors.AnswerTooLargeError,
            id="arguments",
        ),
        pytest.param({"type": "new"}, {"type": "new_delta", "text": MUCH}, errors.AnswerTooLargeError, id="unknown"),
    ],
)
def test_what_is_never_completed_is_not_held_for_ever(block, delta, error):
    decoder = AnthropicStreamDecoder()
    frames = [{"type": "content_block_start", "index": n, "content_block": block} for n in range(2000)]
    if delta is not None:
        frames = frames[:1] + [{"type": "content_block_delta", "index": 0, "delta": delta}] * 40

    with pytest.raises(error):
        decoded(decoder, frames)


def test_a_block_of_tomorrow_grows_by_its_texts():
    frames = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "new", "text": "", "n": 1}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "d", "text": text}} for text in ("a", "b")),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "d", "n": 2, "word": "c"}},
        {"type": "content_block_stop", "index": 0},
    ]

    (part,) = assembled(decoded(AnthropicStreamDecoder(), frames)).choices[0].parts

    assert part.wire == {"type": "new", "text": "ab", "n": 2, "word": "c"}


def test_an_error_after_the_status_200_is_classified():
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    for read in (decode_reply, AnthropicStreamDecoder().decode):
        with pytest.raises(errors.OverloadedError, match="Overloaded"):
            read(body)
    assert isinstance(decode_error(200, {"error": {"type": "rate_limit_error"}}), errors.RateLimitedError)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("anthropic", "errors")])
def test_a_refusal_picks_the_error(case):
    error = decode_error(case["status"], case["body"])

    assert (type(error).__name__, error.upstream_status, error.code) == (case["error"], case["status"], case["code"])


def test_the_message_is_the_providers_own_or_tells_the_status():
    assert (
        decode_error(401, {"type": "error", "error": {"message": "invalid x-api-key"}}).message == "invalid x-api-key"
    )
    assert decode_error(502, "<html>secret innards</html>").message == "The provider answered with status 502."


@cache
def broken(kind, names):
    return st.one_of([mutated(sample("anthropic", f"{kind}{name}")) for name in names])


@given(broken("reply", ("", "_tool_use", "_server_tool")))
def test_a_broken_reply_raises_provider_errors_alone(body):
    with suppress(errors.ProviderError):
        decode_reply(body)


@given(broken("stream", ("", "_tool_use", "_server_tool")))
def test_a_broken_stream_raises_provider_errors_alone(frames):
    bodies = [frame.get("data") for frame in frames if isinstance(frame, dict)]

    with suppress(errors.ProviderError):
        decoded(AnthropicStreamDecoder(), [body for body in bodies if isinstance(body, dict)])


@given(broken("request", ("", "_tools", "_agent")))
def test_a_broken_request_is_told_as_such(body):
    with suppress(BadRequestError):
        decode_request(body)


def reply(*parts, **fields):
    usage = fields.pop("usage", USAGE)
    return encode_reply(ChatResponse(choices=(Choice(parts=parts, **fields),), usage=usage), HEAD)


def test_an_answer_has_the_shape_of_a_message():
    assert reply(TextPart("Grey."), LOOK, finish_reason="tool_calls") == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [text_block("Grey."), {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"q": "x"}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 64,
            "output_tokens": 30,
            "output_tokens_details": {"thinking_tokens": 12},
        },
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"finish_reason": "stop", "native_finish_reason": "STOP"}, "end_turn"),
        ({"finish_reason": "length", "native_finish_reason": "MAX_TOKENS"}, "max_tokens"),
        ({"finish_reason": "content_filter", "native_finish_reason": "SAFETY"}, "refusal"),
        ({"finish_reason": "stop", "native_finish_reason": "pause_turn"}, "pause_turn"),
        ({"finish_reason": None}, None),
    ],
)
def test_the_reason_of_an_answer_is_one_of_the_formats(fields, reason):
    assert reply(TextPart("Hi"), **fields)["stop_reason"] == reason


def test_a_refusal_of_the_model_is_text_and_its_own_reason():
    message = reply(RefusalPart("No."))

    assert (message["content"], message["stop_reason"]) == ([text_block("No.")], "refusal")


def test_thoughts_of_other_models_are_served_with_an_empty_signature():
    foreign = Signature(WireFormat.OPENAI_RESPONSES, "gAAA")

    message = reply(ReasoningPart("hm", foreign), ReasoningPart("", foreign, is_redacted=True), TextPart("So."))

    assert message["content"] == [{"type": "thinking", "thinking": "hm", "signature": ""}, text_block("So.")]
    again = decode_request({"messages": [{"role": "assistant", "content": message["content"]}]})
    assert again.messages[0].parts == (ReasoningPart("hm"), TextPart("So."))


def test_images_are_served_and_arguments_that_are_no_object_are_not_lost():
    message = reply(ImagePart("data:image/png;base64,AA=="), ToolCallPart("c", "look", "{oops"))

    assert message["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": "AA=="}
    assert message["content"][1]["input"] == {"INVALID_JSON": "{oops"}


@pytest.mark.parametrize(
    "part", [FilePart("data:video/mp4;base64,AA=="), FilePart(file_id="f"), AudioPart("AA==", "wav")]
)
def test_what_has_no_block_is_named_in_its_place(part):
    response = ChatResponse(choices=(Choice(parts=(part,)),), usage=USAGE)

    [start] = [frame for frame in streamed(response) if frame["type"] == "content_block_start"]

    assert reply(part)["content"] == [text_block(UNSHOWN_FILE)]
    assert start["content_block"] == text_block(UNSHOWN_FILE)


def test_an_answer_without_a_usage_has_counts_nonetheless():
    assert reply(usage=None)["usage"] == {"input_tokens": 0, "output_tokens": 0}


def events(data):
    named = [frame.split(b"\n", 1)[0].removeprefix(b"event: ").decode() for frame in data.split(b"\n\n") if frame]
    frames = [orjson.loads(frame) for frame in SseParser().feed(data + b"\n")]
    assert named == [frame["type"] for frame in frames]
    return frames


def streamed(response, **options):
    encoder = AnthropicStreamEncoder(HEAD)
    return events(b"".join(encoder.encode([delta]) for delta in deltas_of(response, **options)) + encoder.end(response))


def test_the_events_of_a_stream_come_in_their_order():
    thought = ReasoningPart("hm", signed("Eq"))
    response = ChatResponse(
        choices=(Choice(parts=(thought, TextPart("So."), LOOK), finish_reason="tool_calls"),), usage=USAGE
    )

    frames = streamed(response, pieces=1)

    assert [frame["type"] for frame in frames] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    assert frames[0]["message"] | {"usage": None} == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": None,
    }
    starts = [frame["content_block"] for frame in frames if frame["type"] == "content_block_start"]
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    ]
    assert [frame["index"] for frame in frames if "index" in frame] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert frames[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": reply()["usage"],
    }


def test_a_stream_starts_with_the_usage_where_it_is_known_by_then():
    encoder = AnthropicStreamEncoder(HEAD)

    [frame] = events(encoder.encode([ReplyStarted("claude-x", "m"), UsageTold(USAGE)]))

    assert (frame["message"]["model"], frame["message"]["usage"]["input_tokens"]) == ("claude-x", 9)


def test_a_stream_without_a_word_has_its_frame_nonetheless():
    frames = streamed(ChatResponse(choices=(Choice(),)))

    assert [frame["type"] for frame in frames] == ["message_start", "message_delta", "message_stop"]


def test_calls_that_come_interleaved_are_served_one_after_the_other():
    encoder = AnthropicStreamEncoder(HEAD)
    deltas = [
        PartStarted(0, 0, ToolCallPart("a", "look", "")),
        PartDelta(0, 0, '{"q"'),
        PartStarted(0, 1, ToolCallPart("b", "look", "")),
        PartDelta(0, 1, '{"q":'),
        PartDelta(0, 0, ":1}"),
        PartDelta(0, 1, "2}"),
        PartStarted(0, 2, TextPart("")),
        PartDelta(0, 2, "Done."),
        ChoiceFinished(0, "tool_calls"),
    ]

    data = b"".join(encoder.encode([delta]) for delta in deltas) + encoder.end(ChatResponse(choices=(Choice(),)))

    parts = assembled(decoded(AnthropicStreamDecoder(), events(data))).choices[0].parts
    assert parts == (ToolCallPart("a", "look", '{"q":1}'), ToolCallPart("b", "look", '{"q":2}'), TextPart("Done."))


def test_calls_one_after_the_other_wait_for_nothing():
    encoder = AnthropicStreamEncoder(HEAD)
    encoder.encode([PartStarted(0, 0, LOOK)])

    frames = events(encoder.encode([PartStarted(0, 1, NOW)]))

    assert [frame["type"] for frame in frames] == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_calls_that_are_never_whole_are_served_as_far_as_they_came():
    encoder = AnthropicStreamEncoder(HEAD)
    deltas = [
        PartStarted(0, 0, ToolCallPart("a", "look", "")),
        PartStarted(0, 1, ToolCallPart("b", "look", "")),
        PartStarted(0, 2, ToolCallPart("c", "look", "")),
        PartDelta(0, 2, "{}"),
        PartDelta(0, 1, "{"),
    ]

    data = encoder.encode(deltas) + encoder.end(ChatResponse(choices=(Choice(finish_reason="length"),)))

    parts = assembled(decoded(AnthropicStreamDecoder(), events(data))).choices[0].parts
    assert [(part.id, part.arguments) for part in parts] == [("a", "{}"), ("b", "{"), ("c", "{}")]


@pytest.mark.parametrize("name", ["stream", "stream_tool_use", "stream_server_tool"])
def test_a_stream_of_this_format_is_served_as_it_came(name):
    deltas = decoded(AnthropicStreamDecoder(), frames_of(name))
    response = assembled(deltas)
    encoder = AnthropicStreamEncoder(replace(HEAD, id=response.upstream_id))

    data = b"".join(encoder.encode([delta]) for delta in deltas) + encoder.end(response)

    assert assembled(decoded(AnthropicStreamDecoder(), events(data))) == response


def test_a_foreign_signature_is_not_served():
    encoder = AnthropicStreamEncoder(HEAD)
    signature = PartSigned(0, 0, Signature(WireFormat.GOOGLE, "Cr"))

    frames = events(encoder.encode([PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "Hi"), signature]))

    assert [frame["type"] for frame in frames] == ["message_start", "content_block_start", "content_block_delta"]


def test_parts_that_come_whole_are_served_whole():
    citation = {"type": "char_location", "cited_text": "so"}
    parts = (
        ReasoningPart("", signed("Eq")),
        ReasoningPart("hm", signed("Er")),
        ReasoningPart("", signed("Em"), is_redacted=True),
        TextPart("So.", extra=own(citations=[citation])),
        LOOK,
    )
    encoder = AnthropicStreamEncoder(HEAD)
    response = ChatResponse(choices=(Choice(parts=parts, finish_reason="tool_calls"),), usage=USAGE)

    data = encoder.encode([PartStarted(0, number, part) for number, part in enumerate(parts)]) + encoder.end(response)

    assert assembled(decoded(AnthropicStreamDecoder(), events(data))).choices[0].parts == parts


def test_a_thought_that_only_another_provider_can_read_has_no_block():
    encoder = AnthropicStreamEncoder(HEAD)
    foreign = Signature(WireFormat.OPENAI_RESPONSES, "gAAA")
    deltas = [
        PartStarted(0, 0, ReasoningPart("")),
        PartSigned(0, 0, foreign),
        PartStarted(0, 1, ReasoningPart("", foreign, is_redacted=True)),
    ]

    frames = events(encoder.encode(deltas) + encoder.end(ChatResponse(choices=(Choice(),))))

    assert [frame["type"] for frame in frames] == ["message_start", "message_delta", "message_stop"]


def test_nothing_is_served_before_the_answer_begins():
    assert AnthropicStreamEncoder(HEAD).encode([]) == b""


def test_text_of_a_stream_holds_no_line_ends_of_any_client():
    encoder = AnthropicStreamEncoder(HEAD)

    data = encoder.encode([PartStarted(0, 0, TextPart("")), PartDelta(0, 0, "a\u2028b"), PartDelta(0, 0, "c\u0085d")])

    assert b"\xe2\x80\xa8" not in data
    assert len(data.decode().splitlines()) == data.count(b"\n")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
objects = st.dictionaries(texts, st.integers(-9, 2**60) | texts | st.booleans(), max_size=3)
marks = st.sampled_from([None, None, own(cache_control={"type": "ephemeral"})])
text_parts = st.builds(TextPart, texts, extra=marks)
images = st.builds(ImagePart, st.sampled_from(["https://h.example/a.png", "data:image/png;base64,AA=="]), extra=marks)
files = st.builds(
    FilePart,
    st.sampled_from(["https://h.example/a", "data:application/pdf;base64,AA==", "data:text/plain;base64,w6k="]),
    st.none() | texts,
    extra=marks,
)
thoughts = st.builds(ReasoningPart, texts, texts.map(signed)) | st.builds(
    ReasoningPart, st.just(""), texts.map(signed), st.just(True)
)
opaque = st.just(OpaquePart(MESSAGES, {"type": "search_result", "title": "x"}))
calls = st.builds(ToolCallPart, names, names, objects.map(lambda given: orjson.dumps(given).decode()))


@st.composite
def conversations(draw):
    messages = [ChatMessage("system", parts) for parts in draw(st.lists(st.lists(text_parts, min_size=1), max_size=1))]
    messages.append(ChatMessage("user", draw(st.lists(text_parts | images | files | opaque, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 2))):
        asked = draw(st.lists(calls, max_size=2))
        parts = draw(st.lists(text_parts | thoughts | opaque, min_size=1, max_size=2))
        messages.append(ChatMessage("assistant", [*parts, *asked]))
        for one in asked:
            inner = st.lists(text_parts | images | files, max_size=2).map(tuple)
            told = draw(st.builds(ToolResultPart, st.just(one.id), inner, st.booleans(), marks))
            messages.append(ChatMessage("tool", [told]))
        messages.append(ChatMessage("user", draw(texts)))
    return tuple(messages)


samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 9),
    max_tokens=st.integers(1, 9),
    stop=st.none() | st.lists(texts, min_size=1, max_size=2).map(tuple),
)
reasonings = st.sampled_from([None, Reasoning("none"), Reasoning("max"), Reasoning(budget_tokens=2000)])
some_tools = st.lists(
    st.builds(Tool, names, st.none() | texts, st.just({"type": "object"}), st.none() | st.booleans(), marks)
    | st.just(OpaqueTool(MESSAGES, {"type": "bash_20250124", "name": "bash"})),
    max_size=2,
)


@st.composite
def requests(draw):
    tools = tuple(draw(some_tools))
    choice = draw(st.sampled_from([None, ToolChoice("auto"), ToolChoice("required"), ToolChoice("tool", "look")]))
    is_single = bool(tools and choice) and draw(st.booleans())
    return ChatRequest(
        messages=draw(conversations()),
        model_name="claude",
        sampling=draw(samplings),
        tools=tools,
        tool_choice=choice if tools else None,
        parallel_tool_calls=False if is_single else None,
        output_format=draw(st.none() | st.just(OutputFormat("json_schema", {"type": "object", "minProperties": 1}))),
        reasoning=draw(reasonings),
        user=draw(st.none() | texts),
        is_stream=draw(st.booleans()),
        extra=draw(st.sampled_from([own(), own(service_tier="auto"), own(thinking={"type": "between_tools"})])),
    )


@pytest.mark.slow
@given(requests())
@on_slow_machines_too
def test_a_request_survives_both_ways(request):
    if "thinking" in request.extra.fields:
        request = replace(request, reasoning=None)

    body = encode_request(request, stream=request.is_stream, default_max_tokens=1).body

    assert decode_request(json.loads(json.dumps(body))) == request


@st.composite
def responses(draw):
    parts = draw(st.lists(st.builds(TextPart, texts) | thoughts | opaque | calls | images, max_size=5))
    is_calling = any(isinstance(part, ToolCallPart) for part in parts)
    reason, native = draw(st.sampled_from([("length", "max_tokens"), ("stop", "stop_sequence")]))
    usages = st.builds(
        Usage,
        prompt_tokens=st.integers(20, 99),
        completion_tokens=st.integers(1, 99),
        cached_tokens=st.none() | st.integers(1, 9),
        cache_write_tokens=st.none() | st.integers(1, 9),
        reasoning_tokens=st.none() | st.integers(1, 9),
    )
    return ChatResponse(
        choices=(
            Choice(
                parts=tuple(parts),
                finish_reason="tool_calls" if is_calling else reason,
                native_finish_reason="tool_use" if is_calling else native,
                extra=draw(st.sampled_from([None, own(stop_sequence="END")])),
            ),
        ),
        model_name="claude",
        upstream_id="msg_1",
        usage=draw(usages),
    )


@given(responses())
@on_slow_machines_too
def test_an_answer_survives_both_ways(response):
    assert decode_reply(encode_reply(response, HEAD)) == response


@given(responses(), st.lists(st.floats(0, 1), max_size=4), st.integers(1, 4))
@on_slow_machines_too
def test_streamed_and_whole_are_the_same_answer(response, places, pieces):
    encoder = AnthropicStreamEncoder(HEAD)
    data = encoder.encode(deltas_of(response, pieces=pieces)) + encoder.end(response)

    assert assembled(decoded_bytes(AnthropicStreamDecoder(), cut(data, places))) == response

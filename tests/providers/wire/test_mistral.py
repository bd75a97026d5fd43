import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import errors
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    ImagePart,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    WireFormat,
)
from providers.wire.accumulator import Accumulator
from providers.wire.codec import ReplyHead
from providers.wire.frames import FrameDecoder
from providers.wire.mistral import (
    MistralStreamDecoder,
    MistralStreamEncoder,
    decode_error,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    mistral_call_id,
)
from providers.wire.openai_chat import decode_request as decode_chat_request
from providers.wire.sse import SseParser
from tests.providers.wire.assembling import assembled, cut, decoded, deltas_of
from tests.wire import sample

CHAT = WireFormat.OPENAI_CHAT
HEAD = ReplyHead(id="x1", created_s=1790000000, model_name="m", request=ChatRequest(messages=()))
NEVER_SENT = {"max_completion_tokens", "seed", "stream_options", "user", "logit_bias", "store"}
ASK = ChatMessage("user", "Hi")
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "D681PevKs", "type": "function", "index": 0, "function": {"name": "look", "arguments": "{}"}}


def sent(*messages, stream=False, **fields):
    return encode_request(ChatRequest(messages=messages or (ASK,), model_name="m", **fields), stream=stream)


def sent_messages(*wire):
    return encode_request(decode_chat_request({"messages": list(wire)}), stream=False).body["messages"]


def said(role, content="x", **more):
    return {"role": role, "content": content, **more}


def test_a_request_becomes_the_documented_one():
    text = {"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}}
    image = {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}
    asked = {
        "model": "mistral-small-latest",
        "messages": [
            said("developer", "Be brief."),
            said("user", [text, image]),
            {"role": "assistant", "content": None, "tool_calls": [CALL], "parsed": None},
            said("tool", "42", tool_call_id="D681PevKs"),
            said("user", "And?", name="ann"),
        ],
        "temperature": 1.4,
        "top_p": 0.9,
        "max_tokens": 500,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "n": 2,
        "tools": [{"type": "function", "function": LOOK | {"x": 1}, "y": 2}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "reasoning_effort": "high",
        "user": "u-1",
        "safe_prompt": True,
        "logit_bias": {},
        "store": False,
        "a_parameter_of_tomorrow": 1,
    }

    encoded = encode_request(decode_chat_request(asked), stream=False)

    assert encoded.body == sample("mistral", "request")
    assert encoded.dropped_params == (
        "a_parameter_of_tomorrow",
        "logit_bias",
        "messages.cache_control",
        "messages.name",
        "store",
        "temperature",
        "user",
    )


def test_a_request_is_read_as_it_is_written():
    body = sample("mistral", "request")

    assert encode_request(decode_request(body), stream=False).body == body


def test_a_tool_without_parameters_says_that_it_has_none():
    encoded = sent(tools=(Tool("now"),))

    assert encoded.body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_stream_is_asked_for_without_stream_options():
    encoded = sent(stream=True, extra=Passthrough(CHAT, {"stream_options": {"include_obfuscation": False}}))

    assert encoded.body["stream"] is True
    assert "stream_options" not in encoded.body


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from([*sorted(NEVER_SENT - {"seed"}), "x", "functions"]), st.integers(1), max_size=4))
def test_what_mistral_refuses_is_never_sent_but_told(fields):
    encoded = sent(extra=Passthrough(CHAT, fields), user="u", sampling=Sampling(seed=1))

    assert encoded.body.keys().isdisjoint(NEVER_SENT | {"x", "functions"})
    assert set(fields) - {"max_completion_tokens", "stream_options"} <= set(encoded.dropped_params)


def test_the_newer_name_of_the_length_is_understood():
    request = decode_chat_request({"messages": [said("user")], "max_completion_tokens": 5})

    encoded = encode_request(request, stream=False)

    assert (encoded.body["max_tokens"], encoded.dropped_params) == (5, ())


@pytest.mark.parametrize(
    ("temperature", "told", "dropped"),
    [(0.0, 0.0, ()), (1.0, 1.0, ()), (1.01, 1.0, ("temperature",)), (2, 1.0, ("temperature",))],
)
def test_a_temperature_is_at_most_one(temperature, told, dropped):
    encoded = sent(sampling=Sampling(temperature=temperature))

    assert (encoded.body["temperature"], encoded.dropped_params) == (told, dropped)


@pytest.mark.parametrize(
    ("effort", "told", "dropped"),
    [
        ("none", "none", ()),
        ("minimal", "none", ("reasoning_effort",)),
        ("low", "high", ("reasoning_effort",)),
        ("high", "high", ()),
        ("max", "high", ("reasoning_effort",)),
    ],
)
def test_an_effort_is_all_or_nothing(effort, told, dropped):
    encoded = sent(reasoning=Reasoning(effort))

    assert (encoded.body["reasoning_effort"], encoded.dropped_params) == (told, dropped)


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1))
def test_ids_of_tool_calls_take_the_form_that_mistral_demands(id_):
    mapped = mistral_call_id(id_)

    assert re.fullmatch(r"[A-Za-z0-9]{9}", mapped)
    assert mistral_call_id(mapped) == mapped
    assert mistral_call_id(id_) == mapped


def test_a_call_and_its_result_keep_the_same_id():
    messages = sent(
        ChatMessage("assistant", [ToolCallPart("call_1", "f", "{}"), ToolCallPart("call_2", "f", "")]),
        ChatMessage("tool", [ToolResultPart("call_1", (TextPart("1"),))]),
        ChatMessage("tool", [ToolResultPart("call_2", (TextPart("2"),))]),
    ).body["messages"]

    ids = [call["id"] for call in messages[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in messages[1:]]
    assert len(set(ids)) == 2
    assert [call["function"]["arguments"] for call in messages[0]["tool_calls"]] == ["{}", "{}"]


def test_an_answer_begun_by_the_caller_is_marked_as_such():
    messages = sent_messages(said("user"), said("assistant", "My name is"))

    assert messages[-1] == {"role": "assistant", "content": "My name is", "prefix": True}


@pytest.mark.parametrize("empty", [None, "", " \n", []])
def test_an_empty_turn_of_the_assistant_is_left_out(empty):
    messages = sent_messages(said("user", "A"), {"role": "assistant", "content": empty}, said("user", "B"))

    assert messages == [said("user", "A"), said("user", "B")]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("s u", "s u"),
        ("s s u a u", "s s u a u"),
        ("u s a u", "u s a u"),
        ("u a s u", "u a u u"),
        ("u a s s u", "u a u s u"),
        ("u s", "u u"),
        ("s u a u s", "s u a u u"),
        ("s", "s"),
    ],
)
def test_an_instruction_in_the_middle_stands_where_it_may_or_is_the_users(roles, expected):
    names = {"s": "system", "u": "user", "a": "assistant"}

    messages = sent_messages(*[said(names[role]) for role in roles.split()])

    assert [message["role"] for message in messages] == [names[role] for role in expected.split()]


@pytest.mark.parametrize("role", ["user", "system"])
def test_an_assistants_turn_stands_between_a_tools_answer_and_what_follows(role):
    result = said("tool", "42", tool_call_id="D681PevKs")

    messages = sent_messages(said("user"), said("assistant", None, tool_calls=[CALL]), result, said(role), said("user"))

    assert [message["role"] for message in messages[2:]] == ["tool", "assistant", "user", "user"]


def test_parts_that_are_mistrals_own_are_sent_as_they_are():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Fur."}], "closed": True}
    turn = ChatMessage("assistant", [OpaquePart(CHAT, thinking), TextPart("Red.")])

    assert sent(turn, ASK).body["messages"][0]["content"] == [thinking, {"type": "text", "text": "Red."}]


def test_documents_have_a_part_of_their_own():
    files = [FilePart("https://files.example/a.pdf", "a.pdf"), FilePart(file_id="file-1")]

    assert sent(ChatMessage("user", files)).body["messages"][0]["content"] == [
        {"type": "document_url", "document_url": "https://files.example/a.pdf", "document_name": "a.pdf"},
        {"type": "file", "file_id": "file-1"},
    ]


def test_what_an_assistant_refused_and_thought_is_told_as_far_as_it_can_be():
    encoded = sent(ASK, ChatMessage("assistant", [ReasoningPart("Hm."), RefusalPart("No.")]), ASK)

    assert encoded.body["messages"][1] == {"role": "assistant", "content": "No."}
    assert encoded.dropped_params == ("messages.reasoning_content",)


def test_an_image_is_named_as_mistral_names_it():
    image = ImagePart("data:image/jpg;base64,AA==", "low", Passthrough(CHAT, {"image_url": {"format": "png"}}))

    encoded = sent(ChatMessage("user", [image]))

    assert encoded.body["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA==", "detail": "low"}}
    ]
    assert encoded.dropped_params == ("messages.format",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"tools": (OpaqueTool(CHAT, {"type": "custom"}),)}, "tools", id="custom-tool"),
        pytest.param(
            {"messages": (ChatMessage("assistant", [OpaquePart(CHAT, {"type": "custom"}, "tool_calls")]),)},
            "messages",
            id="custom-call",
        ),
        pytest.param(
            {"messages": (ChatMessage("tool", [OpaquePart(CHAT, {"role": "function"}, "messages")]),)},
            "messages",
            id="old-role",
        ),
    ],
)
def test_what_would_make_another_request_of_it_is_refused(fields, param):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        sent(*fields.pop("messages", ()), **fields)

    assert caught.value.param == param


def test_images_and_arguments_may_be_written_in_two_ways():
    request = decode_request(
        {
            "messages": [
                said("user", [{"type": "image_url", "image_url": "u"}]),
                said("assistant", "", tool_calls=[{"id": "D681PevKs", "function": {"name": "f", "arguments": {}}}]),
            ]
        }
    )

    assert request.messages[0].parts == (ImagePart("u"),)
    assert request.messages[1].parts == (TextPart(""), ToolCallPart("D681PevKs", "f", "{}"))


def test_a_reply_is_read():
    response = decode_reply(sample("mistral", "reply"))

    choice = response.choices[0]
    assert (choice.parts, choice.finish_reason) == ((ToolCallPart("D681PevKs", "look", "{}"),), "tool_calls")
    assert response.usage == Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4)


def test_thoughts_are_told_apart_from_the_answer():
    choice = decode_reply(sample("mistral", "reply_thinking")).choices[0]

    assert choice.parts == (ReasoningPart("Fur. "), TextPart("Red."))
    assert (choice.finish_reason, choice.native_finish_reason) == ("length", "model_length")


def test_a_stream_is_read_frame_by_frame():
    decoder = MistralStreamDecoder()

    response = assembled(decoded(decoder, [one["data"] for one in sample("mistral", "stream")]))

    assert decoder.is_finished
    assert response.choices[0].parts == (ReasoningPart("Fur. "), TextPart("Red."))
    assert response.usage == Usage(prompt_tokens=9, completion_tokens=5)


@pytest.mark.parametrize("case", sample("mistral", "errors"), ids=lambda case: case["id"])
def test_each_refusal_has_its_error(case):
    error = decode_error(case["status"], case["body"])

    assert type(error) is getattr(errors, case["error"])
    assert error.code == case.get("code")
    assert not error.message.startswith("The provider answered with status")


def test_an_error_in_mid_stream_is_raised():
    [case] = [case for case in sample("mistral", "errors") if case["id"] == "in-mid-stream"]

    with pytest.raises(errors.UpstreamError, match="Service unavailable"):
        MistralStreamDecoder().decode(case["body"])


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9]{9}", fullmatch=True)
texts = st.builds(TextPart, words.filter(str.strip))
said_parts = st.lists(texts, min_size=2, max_size=3) | st.lists(texts, min_size=1, max_size=1)
calls = st.builds(ToolCallPart, ids, names, words.filter(bool))
turns = st.builds(
    lambda asked, content, some_calls: [
        ChatMessage("user", asked),
        ChatMessage("assistant", [*content, *some_calls]),
        *(ChatMessage("tool", [ToolResultPart(call.id, (TextPart("42"),))]) for call in some_calls),
    ],
    st.lists(texts | st.builds(ImagePart, names), min_size=2, max_size=3),
    said_parts,
    st.lists(calls, max_size=2, unique_by=lambda call: call.id),
)
requests = st.builds(
    lambda some_turns, last, **fields: ChatRequest(
        messages=(
            ChatMessage("system", "Be brief."),
            *(message for turn in some_turns for message in turn),
            *([] if any(turn[-1].role == "tool" for turn in some_turns) else [ChatMessage("user", last)]),
        ),
        **fields,
    ),
    st.lists(turns.filter(lambda turn: turn[-1].role == "assistant"), max_size=2) | st.lists(turns, max_size=1),
    words.filter(str.strip),
    model_name=words,
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 1),
        max_tokens=st.none() | st.integers(1, 9),
        seed=st.none() | st.integers(0, 9),
        stop=st.none() | st.lists(words, min_size=1, max_size=2).map(tuple),
    ),
    tools=st.just((Tool("look", "Looks.", {"type": "object"}, True),)),
    tool_choice=st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"])),
    output_format=st.none() | st.just(OutputFormat("json_schema", {}, "r", None, True)),
    reasoning=st.none() | st.builds(Reasoning, st.sampled_from(["none", "high"])),
    extra=st.none() | st.just(Passthrough(CHAT, {"safe_prompt": True})),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(requests)
def test_a_request_written_and_read_again_is_the_same(request_):
    encoded = encode_request(request_, stream=False)

    assert decode_request(encoded.body) == request_
    assert encoded.dropped_params == ()


answers = st.builds(
    lambda *some: tuple(part for few in some for part in few),
    st.lists(st.builds(ReasoningPart, words.filter(bool)), max_size=1),
    st.lists(st.builds(TextPart, words.filter(bool)), max_size=1),
    st.lists(calls, max_size=2, unique_by=lambda call: call.id),
).filter(bool)
responses = st.builds(
    lambda parts, usage: ChatResponse(
        choices=(Choice(parts=parts, finish_reason="stop", native_finish_reason="stop"),),
        model_name="m",
        usage=usage,
        upstream_id=HEAD.id,
    ),
    answers,
    st.just(Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)),
)


@settings(max_examples=60, deadline=None)
@given(responses, st.lists(st.floats(0, 1), max_size=4))
def test_an_answer_written_and_read_again_is_the_same_streamed_and_whole(response, places):
    encoder = MistralStreamEncoder(HEAD)
    stream = encoder.encode(list(deltas_of(response))) + encoder.end(response)
    parser, accumulator, decoder = SseParser(), Accumulator(), FrameDecoder(MistralStreamDecoder())

    for data in [one for some in cut(stream, places) for one in parser.feed(some) if one != b"[DONE]"]:
        accumulator.take(decoder.decode(data))

    assert decode_reply(encode_reply(response, HEAD)) == response
    assert accumulator.response() == response

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import errors
from providers.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
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
    Signature,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    WireFormat,
)
from providers.wire.openai_chat import decode_request, encode_request, wants_usage
from providers.wire.validation import BadRequestError
from tests.wire import sample

CHAT, GOOGLE, ANTHROPIC = WireFormat.OPENAI_CHAT, WireFormat.GOOGLE, WireFormat.ANTHROPIC_MESSAGES
HELLO = [{"role": "user", "content": "Hello"}]
ASK = (ChatMessage("user", "Hi"),)
LOOK = {"type": "function", "function": {"name": "look"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "Eq8="}


def own(**fields):
    return Passthrough(CHAT, fields)


def read(**body):
    return decode_request({"messages": HELLO, **body})


def refused(**body):
    with pytest.raises(BadRequestError) as caught:
        read(**body)
    return caught.value


def sent(*messages, stream=False, **fields):
    return encode_request(ChatRequest(messages=messages or ASK, model_name="m", **fields), stream=stream)


def unsupported(*messages, **fields):
    with pytest.raises(errors.UnsupportedRequestError) as caught:
        sent(*messages, **fields)
    return caught.value


NOT_TEXT = [1, 1.5, True, [], {}]
NOT_NUMBERS = ["1", True, [], {}]
NOT_WHOLE = ["1", 1.5, True, [], {}]
COUNTS = ("n", "max_tokens", "max_completion_tokens")
NOT_BOOLEAN = ["true", 1, 0, [], {}]
NOT_OBJECTS = ["x", 1, True, {}, ["x"], [None], [[]]]
NOT_OBJECT = ["x", 1, True, []]


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        *(("model", value, "must be a string, not ") for value in NOT_TEXT),
        *(("user", value, "must be a string, not ") for value in NOT_TEXT),
        *(("reasoning_effort", value, "must be a string, not ") for value in NOT_TEXT),
        *(("temperature", value, "must be a number, not ") for value in NOT_NUMBERS),
        *(("top_p", value, "must be a number, not ") for value in NOT_NUMBERS),
        *(("presence_penalty", value, "must be a number, not ") for value in NOT_NUMBERS),
        *(("frequency_penalty", value, "must be a number, not ") for value in NOT_NUMBERS),
        *(("top_k", value, "must be a whole number, not ") for value in NOT_WHOLE),
        *(("seed", value, "must be a whole number, not ") for value in NOT_WHOLE),
        *((name, value, "must be a whole number, not ") for name in COUNTS for value in NOT_WHOLE),
        *((name, value, "must be at least 1.") for name in COUNTS for value in (0, -1)),
        ("top_logprobs", -1, "must be at least 0."),
        ("logprobs", 5, "must be true or false, not a number."),
        *(("parallel_tool_calls", value, "must be true or false, not ") for value in NOT_BOOLEAN),
        *(("stream", value, "must be true or false, not ") for value in NOT_BOOLEAN),
        *(("tools", value, "must be a list of objects.") for value in NOT_OBJECTS),
        *(("tool_choice", value, "must be a string or an object.") for value in (1, True, [])),
        *(("response_format", value, "must be an object, not ") for value in NOT_OBJECT),
        *(("stream_options", value, "must be an object, not ") for value in NOT_OBJECT),
        *(("stop", value, "must be a string or a list of strings.") for value in (1, True, {}, [1], ["x", None])),
        ("model", "m" * 513, "must have at most 512 characters."),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_its_name(name, wrong, words):
    error = refused(**{name: wrong})

    assert error.param == name
    assert f"`{name}` {words}" in str(error)


def part(**fields):
    return [{"role": "user", "content": [{"type": "text", "text": "Hello"}, fields]}]


def call(**fields):
    return [{"role": "assistant", "content": None, "tool_calls": [fields]}]


A_ROLE = "must be one of assistant, developer, function, system, tool, user."
A_LIST = "must be a list with at least one message."
A_PART = "must be an object with a `type`."
A_CALL = "must be an object with `id`, `type` and `function`."
A_FUNCTION = "must be an object with `name` and `arguments`, both strings."
A_CONTENT = "must be a string or a list of parts, not "
IMAGE_URL = "messages[0].content[1].image_url.url"


@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        pytest.param([], "messages", A_LIST, id="none"),
        pytest.param({}, "messages", A_LIST, id="object"),
        pytest.param("Hello", "messages", A_LIST, id="text"),
        pytest.param(["Hello"], "messages[0]", "must be an object, not a string.", id="a-message-of-text"),
        pytest.param([*HELLO, None], "messages[1]", "must be an object, not null.", id="a-message-of-null"),
        pytest.param([{"content": "Hello"}], "messages[0].role", A_ROLE, id="no-role"),
        pytest.param([{"role": "admin", "content": "x"}], "messages[0].role", A_ROLE, id="unknown-role"),
        pytest.param([{"role": ["user"], "content": "x"}], "messages[0].role", A_ROLE, id="list-of-roles"),
        pytest.param([{"role": {}, "content": "Hello"}], "messages[0].role", A_ROLE, id="object-as-role"),
        pytest.param([{"role": "user"}], "messages[0].content", "is missing.", id="no-content"),
        pytest.param([*HELLO, {"role": "tool", "content": None}], "messages[1].content", "is missing.", id="null"),
        pytest.param([{"role": "user", "content": 1}], "messages[0].content", A_CONTENT + "a number.", id="number"),
        pytest.param([{"role": "user", "content": {}}], "messages[0].content", A_CONTENT + "an object.", id="object"),
        pytest.param([{"role": "user", "content": ["Hi"]}], "messages[0].content[0]", A_PART, id="part-of-text"),
        pytest.param(part(), "messages[0].content[1]", A_PART, id="part-without-type"),
        pytest.param(part(type=1), "messages[0].content[1]", A_PART, id="part-of-numbered-type"),
        pytest.param(part(type="text"), "messages[0].content[1].text", "must be a string.", id="no-text"),
        pytest.param(part(type="text", text=1), "messages[0].content[1].text", "must be a string.", id="text-number"),
        pytest.param(part(type="image_url"), IMAGE_URL, "must be a string.", id="image-without-url"),
        pytest.param(part(type="image_url", image_url="x"), IMAGE_URL, "must be a string.", id="image-as-text"),
        pytest.param(part(type="image_url", image_url={"url": 1}), IMAGE_URL, "must be a string.", id="url-number"),
        pytest.param(
            [{"role": "tool", "content": "x", "tool_call_id": 1}],
            "messages[0].tool_call_id",
            "must be a string.",
            id="call-id-number",
        ),
        pytest.param(
            [{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls", "must be a list.", id="calls-as-object"
        ),
        pytest.param(
            [{"role": "assistant", "tool_calls": ["x"]}], "messages[0].tool_calls[0]", A_CALL, id="call-as-text"
        ),
        pytest.param(call(), "messages[0].tool_calls[0]", A_CALL, id="empty-call"),
        pytest.param(call(type="function", function={}), "messages[0].tool_calls[0]", A_CALL, id="call-without-id"),
        pytest.param(call(id=1, type="function"), "messages[0].tool_calls[0]", A_CALL, id="call-with-numbered-id"),
        pytest.param(call(id="call_1"), "messages[0].tool_calls[0]", A_CALL, id="call-without-type"),
        pytest.param(
            call(id="call_1", type="function"), "messages[0].tool_calls[0].function", A_FUNCTION, id="call-of-nothing"
        ),
        pytest.param(
            call(id="call_1", type="function", function={"name": "look", "arguments": {}}),
            "messages[0].tool_calls[0].function",
            A_FUNCTION,
            id="call-with-arguments-as-object",
        ),
    ],
)
def test_a_message_at_fault_is_refused_by_its_path(messages, param, words):
    error = refused(messages=messages)

    assert (str(error), error.param, error.code) == (f"`{param}` {words}", param, None)


@pytest.mark.parametrize("body", [{}, {"messages": None}])
def test_missing_messages_have_a_code_of_their_own(body):
    with pytest.raises(BadRequestError, match="`messages` is missing") as caught:
        decode_request(body)

    assert (caught.value.param, caught.value.code) == ("messages", "missing_parameter")


def test_a_tool_without_a_name_is_refused_by_its_path():
    assert refused(tools=[{"type": "function", "function": {}}]).param == "tools[0].function.name"


def test_every_parameter_is_read_into_its_field():
    request = read(
        model="large", temperature=0, top_p=0.5, top_k=3, max_tokens=1, stop="END", seed=-1, presence_penalty=-2,
        frequency_penalty=2, n=1, logprobs=True, top_logprobs=0, tools=[LOOK], tool_choice="auto",
        parallel_tool_calls=False, response_format={"type": "json_object"}, reasoning_effort="low", user="ada",
        stream=True,
    )  # fmt: skip

    assert request == ChatRequest(
        messages=(ChatMessage("user", "Hello"),),
        model_name="large",
        sampling=Sampling(
            temperature=0, top_p=0.5, top_k=3, max_tokens=1, stop=("END",), seed=-1, presence_penalty=-2,
            frequency_penalty=2, n=1, logprobs=True, top_logprobs=0,
        ),
        tools=(Tool("look"),),
        tool_choice=ToolChoice("auto"),
        parallel_tool_calls=False,
        output_format=OutputFormat("json_object"),
        reasoning=Reasoning("low"),
        user="ada",
        is_stream=True,
    )  # fmt: skip


@pytest.mark.parametrize("absent", [{}, {"temperature": None, "tools": None, "stop": None, "stream_options": None}])
def test_null_is_the_same_as_not_given(absent):
    assert read(**absent) == ChatRequest(messages=(ChatMessage("user", "Hello"),))


def test_what_the_hub_does_not_know_travels_along():
    fields = {"verbosity": "low", "logit_bias": {"50256": -100}, "min_p": None}

    assert read(**fields).extra == Passthrough(CHAT, fields)


@pytest.mark.parametrize(
    ("options", "wanted", "extra"),
    [
        (None, False, None),
        ({}, False, None),
        ({"include_usage": False}, False, None),
        ({"include_usage": True}, True, None),
        ({"include_usage": True, "x": 1}, True, own(stream_options={"x": 1})),
    ],
)
def test_how_the_answer_is_to_be_sent_is_no_parameter_of_the_model(options, wanted, extra):
    body = {"messages": HELLO, "stream": True, "stream_options": options}

    assert wants_usage(body) is wanted
    assert decode_request(body).extra == extra


@pytest.mark.parametrize(
    ("choice", "known"),
    [
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required")),
        ({"type": "function", "function": {"name": "look"}}, ToolChoice("tool", "look")),
        ({"type": "allowed_tools", "allowed_tools": {}}, None),
        ({"type": "custom", "custom": {"name": "run"}}, None),
        ("a_choice_of_tomorrow", None),
    ],
)
def test_a_choice_of_tools_is_read_or_passed_on(choice, known):
    request = read(tools=[LOOK], tool_choice=choice)

    assert request.tool_choice == known
    assert encode_request(request, stream=False).body["tool_choice"] == ("required" if choice == "any" else choice)


@pytest.mark.parametrize(
    ("wire", "form"),
    [
        ({"type": "text"}, OutputFormat("text")),
        ({"type": "json_object"}, OutputFormat("json_object")),
        ({"type": "json_object", "schema": {"type": "object"}}, OutputFormat("json_object", {"type": "object"})),
        (
            {"type": "json_schema", "json_schema": {"name": "r", "schema": {}, "strict": True, "description": "d"}},
            OutputFormat("json_schema", {}, "r", "d", True),
        ),
        ({"type": "grammar", "grammar": "root ::= x"}, None),
    ],
)
def test_the_form_of_the_answer_is_read_or_passed_on(wire, form):
    request = read(response_format=wire)

    assert request.output_format == form
    assert encode_request(request, stream=False).body["response_format"] == wire


def test_a_schema_of_no_name_gets_one():
    body = sent(output_format=OutputFormat("json_schema", {"type": "object"})).body

    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}},
    }


def test_an_effort_that_nobody_knows_is_passed_on():
    request = read(reasoning_effort="default")

    assert request.reasoning is None
    assert encode_request(request, stream=False).body["reasoning_effort"] == "default"


@pytest.mark.parametrize(("budget_tokens", "effort"), [(0, "none"), (1024, "low"), (8192, "medium"), (30_000, "high")])
def test_a_budget_of_thoughts_becomes_the_nearest_effort(budget_tokens, effort):
    assert sent(reasoning=Reasoning(budget_tokens=budget_tokens)).body["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        pytest.param({"type": "text", "text": "Hi"}, TextPart("Hi"), id="text"),
        pytest.param(
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
            TextPart("Hi", extra=own(cache_control={"type": "ephemeral"})),
            id="text-with-more",
        ),
        pytest.param({"type": "image_url", "image_url": {"url": "u"}}, ImagePart("u"), id="image"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, ImagePart("u", "low"), id="image-detail"
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "u", "format": "png"}, "x": 1},
            ImagePart("u", extra=own(x=1, image_url={"format": "png"})),
            id="image-with-more",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            AudioPart("UklGRg==", "wav"),
            id="audio",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
            FilePart("data:application/pdf;base64,AA==", "a.pdf"),
            id="file",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
            FilePart("data:application/pdf;base64,AA==", ""),
            id="file-without-name",
        ),
        pytest.param({"type": "file", "file": {"file_id": "file-1"}}, FilePart("", "", "file-1"), id="file-id"),
        *(
            pytest.param(wire, OpaquePart(CHAT, wire), id=f"opaque-{number}")
            for number, wire in enumerate(
                [
                    {"type": "input_audio", "x": 1},
                    {"type": "input_audio", "input_audio": {"data": 1, "format": "wav"}},
                    {"type": "file", "file": {"file_data": "AA=="}},
                    {"type": "file", "file": {}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "file_id": "file-1"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": 1}},
                    {"type": "video_url", "video_url": {"url": "u"}},
                ]
            )
        ),
    ],
)
def test_each_kind_of_part_is_read_and_sent_as_it_came(wire, expected):
    messages = [{"role": "user", "content": [{"type": "text", "text": "?"}, wire]}]

    request = read(messages=messages)

    assert request.messages[0].parts[1] == expected
    assert encode_request(request, stream=False).body["messages"] == messages


def test_an_image_that_the_assistant_said_stays_where_it_stood():
    messages = [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]

    assert encode_request(read(messages=messages), stream=False).body["messages"] == messages


def test_a_file_from_a_format_without_names_gets_one():
    file = FilePart("data:application/pdf;base64,AA==")

    encoded = sent(ChatMessage("user", [file]))

    assert encoded.body["messages"][0]["content"][0]["file"] == {"filename": "document.pdf", "file_data": file.url}


def test_calls_and_their_results_are_read():
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1,}'}},
        {"id": "call_2", "type": "custom", "custom": {"name": "run", "input": "ls"}},
    ]

    turn, result = read(
        messages=[
            {"role": "assistant", "content": "I look.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "42", "name": "look"},
        ]
    ).messages

    assert turn.parts == (
        TextPart("I look."),
        ToolCallPart("call_1", "look", '{"q": 1,}'),
        OpaquePart(CHAT, calls[1], "tool_calls"),
    )
    assert result == ChatMessage("tool", [ToolResultPart("call_1", (TextPart("42"),))], extra=own(name="look"))


def test_what_was_thought_and_refused_is_read():
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "B"}],
        "reasoning_content": "Hm.",
        "refusal": "C",
    }

    assert read(messages=[message]).messages[0].parts == (
        ReasoningPart("Hm."),
        TextPart("A"),
        RefusalPart("B"),
        RefusalPart("C"),
    )


def test_signatures_are_accepted_back():
    redacted = {"type": "redacted_thinking", "data": "Em=="}
    signed_call = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "Cr8=", "x": 1}, "y": 2},
    }
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm.",
        "extra_content": {"anthropic": {"thinking_blocks": [THOUGHT, redacted]}},
        "tool_calls": [signed_call],
    }

    assert read(messages=[message]).messages[0] == ChatMessage(
        "assistant",
        [
            ReasoningPart("Hm.", Signature(ANTHROPIC, "Eq8=")),
            ReasoningPart("", Signature(ANTHROPIC, "Em=="), is_redacted=True),
            ToolCallPart("c", "f", "{}", Signature(GOOGLE, "Cr8="), own(extra_content={"google": {"x": 1}, "y": 2})),
        ],
    )
    [sent_message] = encode_request(read(messages=[message]), stream=False).body["messages"]
    assert sent_message == {"role": "assistant", "content": None, "tool_calls": [signed_call]}


def test_keys_that_helpers_of_clients_add_to_a_replayed_call_change_nothing():
    function = {"name": "look", "arguments": "{}", "parsed_arguments": None}
    message = {
        "role": "assistant",
        "content": None,
        "parsed": None,
        "refusal": None,
        "tool_calls": [{"id": "call_1", "type": "function", "index": 0, "function": function}],
    }

    request = read(messages=[message])

    assert request.messages[0].parts == (ToolCallPart("call_1", "look", "{}"),)


def test_a_message_of_the_old_role_is_sent_as_it_came():
    turn = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "42"}

    request = read(messages=[turn, result])

    assert request.messages[1].role == "tool"
    assert encode_request(request, stream=False).body["messages"] == [turn, result]


def test_a_request_of_the_sdk_goes_out_as_it_came_in():
    body = sample("openai", "request")
    expected = sample("openai", "request")
    del expected["messages"][2]["refusal"]  # null
    expected["messages"][4]["content"] = "a b"  # the one text of a list

    encoded = encode_request(decode_request(body), stream=False)

    assert encoded.body == expected
    assert encoded.dropped_params == ()


@pytest.mark.parametrize(
    ("given_", "body"),
    [
        pytest.param({"max_tokens": 5}, {"max_completion_tokens": 5}, id="old-name"),
        pytest.param({"max_completion_tokens": 5}, {"max_completion_tokens": 5}, id="new-name"),
        pytest.param({"max_tokens": 4, "max_completion_tokens": 5}, {"max_completion_tokens": 5}, id="both"),
        pytest.param({"stop": "END"}, {"stop": ["END"]}, id="one-stop"),
        pytest.param({"stop": []}, {}, id="no-stop"),
        pytest.param({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}, id="no-tools"),
        pytest.param({"tools": [], "tool_choice": {"type": "custom"}}, {}, id="no-tools-and-an-unknown-choice"),
        pytest.param({"stream_options": {"include_obfuscation": False}}, {}, id="stream-options-of-no-stream"),
        pytest.param({"temperature": 0, "seed": 0}, {"temperature": 0, "seed": 0}, id="zeros"),
    ],
)
def test_what_openai_would_refuse_is_put_right(given_, body):
    ask = {"model": "m", "messages": HELLO}

    assert encode_request(decode_request(ask | given_), stream=False).body == ask | body


@pytest.mark.parametrize(
    ("given_", "body"),
    [
        pytest.param({"max_tokens": 5}, {"max_tokens": 5}, id="usual"),
        pytest.param({"max_completion_tokens": 5}, {"max_completion_tokens": 5}, id="the-callers-choice"),
    ],
)
def test_the_length_goes_by_the_name_that_servers_know(given_, body):
    encoded = encode_request(read(**given_), stream=False, length_param="max_tokens")

    assert {name: value for name, value in encoded.body.items() if name.startswith("max")} == body


@pytest.mark.parametrize("choice", ["required", {"type": "custom", "custom": {"name": "x"}}])
def test_parameters_left_out_for_want_of_tools_are_told(choice):
    encoded = encode_request(read(tool_choice=choice, parallel_tool_calls=True), stream=False)

    assert encoded.dropped_params == ("parallel_tool_calls", "tool_choice")


def test_a_stream_is_asked_for_with_its_usage_and_the_callers_options():
    body = sent(stream=True, extra=own(stream_options={"include_obfuscation": False})).body

    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_images_in_the_results_of_calls_follow_in_a_message_of_the_user():
    image = ImagePart("data:image/jpg;base64,AA==")
    messages = sent(
        ChatMessage("assistant", [ToolCallPart("a", "f", ""), ToolCallPart("b", "f", "{}")]),
        ChatMessage("tool", [ToolResultPart("a", (image,))]),
        ChatMessage("tool", [ToolResultPart("b", (TextPart("42"), image))]),
        ChatMessage("user", "And?"),
    ).body["messages"]

    wire = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA=="}}
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in messages[1:]] == [
        "The result is attached to the next message.",
        "42",
        [wire, wire],
        "And?",
    ]
    assert [call["function"]["arguments"] for call in messages[0]["tool_calls"]] == ["{}", "{}"]


def test_what_only_another_format_says_is_left_out_and_named():
    extra = Passthrough(ANTHROPIC, {"container": "c", "betas": None})
    text = TextPart("Hi", extra=Passthrough(ANTHROPIC, {"cache_control": {"type": "ephemeral"}}))
    thought = ReasoningPart("Hm.", Signature(ANTHROPIC, "Eq8="))

    encoded = sent(ChatMessage("user", [text]), ChatMessage("assistant", [thought, TextPart("Ho")]), extra=extra)

    assert encoded.body["messages"] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert encoded.dropped_params == ("container", "messages.cache_control")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"tools": (OpaqueTool(ANTHROPIC, {"type": "bash"}),)}, "tools", id="tool"),
        pytest.param(
            {"messages": (ChatMessage("user", [OpaquePart(ANTHROPIC, {"type": "x"})]),)}, "messages", id="part"
        ),
        pytest.param(
            {"messages": (ChatMessage("assistant", [OpaquePart(ANTHROPIC, {}, "tool_calls")]),)}, "messages", id="call"
        ),
        pytest.param(
            {"messages": (ChatMessage("user", [FilePart("https://files.example/a.pdf")]),)}, "messages", id="file"
        ),
        pytest.param({"messages": (ChatMessage("tool", "42"),)}, "messages", id="result-of-nothing"),
        pytest.param({"messages": (ChatMessage("user", [ToolCallPart("a", "f", "")]),)}, "messages", id="users-call"),
    ],
)
def test_what_would_make_another_request_of_it_is_refused(fields, param):
    error = unsupported(*fields.pop("messages", ()), **fields)

    assert error.param == param


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
extras = st.none() | st.builds(own, cache_control=st.just({"type": "ephemeral"}))
texts = st.builds(TextPart, words, extra=extras)
images = st.builds(ImagePart, names.map("https://images.example/{}".format), st.sampled_from([None, "low"]), extras)
sounds = st.builds(AudioPart, names, st.just("wav"), extras)
files = st.builds(FilePart, st.just("data:application/pdf;base64,AA=="), names | st.just("")) | st.builds(
    FilePart, filename=names | st.just(""), file_id=names
)
unknown = st.builds(OpaquePart, st.just(CHAT), st.builds(lambda x: {"type": "video_url", "x": x}, words))
contents = st.lists(texts | images | sounds | files | unknown, min_size=2, max_size=4) | st.lists(
    st.builds(TextPart, words), min_size=1, max_size=1
)
calls = st.builds(
    ToolCallPart, names, names, words.filter(bool), st.none() | st.builds(Signature, st.just(GOOGLE), names), extras
) | st.builds(
    OpaquePart,
    st.just(CHAT),
    st.builds(lambda x: {"id": x, "type": "custom", "custom": {}}, names),
    st.just("tool_calls"),
)
asking = st.builds(ChatMessage, st.sampled_from(["system", "developer", "user"]), contents, extra=extras)
answering = st.builds(
    lambda *parts, extra: ChatMessage("assistant", [part for some in parts for part in some], extra=extra),
    st.lists(st.builds(ReasoningPart, words.filter(bool)), max_size=1),
    st.lists(texts, min_size=2, max_size=2) | st.lists(st.builds(TextPart, words), max_size=1),
    st.lists(st.builds(RefusalPart, words.filter(bool)), max_size=1),
    st.lists(st.builds(ImagePart, names), max_size=1),
    st.lists(calls, max_size=2),
    extra=extras,
)
results = st.builds(
    lambda id_, parts, extra: ChatMessage("tool", [ToolResultPart(id_, tuple(parts))], extra=extra),
    names,
    st.lists(texts, min_size=2, max_size=2) | st.lists(st.builds(TextPart, words), min_size=1, max_size=1),
    extras,
)
tools = st.builds(
    Tool, names, st.none() | words, st.none() | st.just({"type": "object"}), st.none() | st.booleans(), extras
) | st.builds(OpaqueTool, st.just(CHAT), st.just({"type": "custom", "custom": {"name": "run"}}))
forms = st.builds(OutputFormat, st.sampled_from(["text", "json_object"])) | st.builds(
    OutputFormat,
    st.just("json_schema"),
    st.just({"type": "object"}),
    names,
    st.none() | words,
    st.none() | st.booleans(),
)
sampling = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_k=st.none() | st.integers(0, 9),
    max_tokens=st.none() | st.integers(1, 9),
    stop=st.none() | st.lists(words, min_size=1, max_size=2).map(tuple),
    seed=st.none() | st.integers(-9, 9),
    logprobs=st.none() | st.booleans(),
)
choices = st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"])) | st.builds(
    ToolChoice, st.just("tool"), names
)


@st.composite
def requests(draw):
    some_tools = tuple(draw(st.lists(tools, max_size=2)))
    return ChatRequest(
        messages=tuple(draw(st.lists(asking | answering | results, min_size=1, max_size=4))),
        model_name=draw(words),
        sampling=draw(sampling),
        tools=some_tools,
        tool_choice=draw(st.none() | choices) if some_tools else None,
        parallel_tool_calls=draw(st.none() | st.booleans()) if some_tools else None,
        output_format=draw(st.none() | forms),
        reasoning=draw(st.none() | st.builds(Reasoning, st.sampled_from(["none", "low", "max"]))),
        user=draw(st.none() | words),
        extra=draw(st.none() | st.builds(own, x_new=words)),
    )


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(requests())
def test_a_request_written_and_read_again_is_the_same(request_):
    encoded = encode_request(request_, stream=False, length_param="max_tokens")

    assert decode_request(encoded.body) == request_
    assert encoded.dropped_params == ()

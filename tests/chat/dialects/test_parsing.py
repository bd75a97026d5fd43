import json

import pytest
from chat.dialects.parsing import read_chat_request, read_json, refuse_routing_fields
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.backends.openai import openai_payload
from providers.types import ChatMessage, ImagePart, OpaquePart, TextPart, ToolCall
from providers.wire.validation import BadRequestError

HELLO = [{"role": "user", "content": "Hello"}]


def read(**body):
    return read_chat_request({"messages": HELLO, **body})


def refused(**body):
    with pytest.raises(BadRequestError) as found:
        read(**body)
    return found.value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"{", "not valid JSON", id="cut"),
        pytest.param(b"hello", "not valid JSON", id="text"),
        pytest.param(b'{"a": NaN}', "not valid JSON", id="not-a-number"),
        pytest.param(b'{"a": "\xff"}', "not encoded in UTF-8", id="not-utf-8"),
        pytest.param(rb'{"a": "\ud800"}', "not valid JSON", id="half-a-surrogate-pair"),
        pytest.param(b"[" * 5000, "not valid JSON", id="too-deep"),
        pytest.param(b"[]", "not a list", id="list"),
        pytest.param(b'"a"', "not a string", id="string"),
        pytest.param(b"1", "not a number", id="number"),
        pytest.param(b"true", "not true or false", id="boolean"),
        pytest.param(b"null", "not null", id="null"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_in_words(body, words):
    with pytest.raises(BadRequestError, match=words) as found:
        read_json(body)

    assert found.value.code == "invalid_json"


def test_the_refusal_of_a_body_does_not_repeat_it():
    with pytest.raises(BadRequestError) as found:
        read_json(b'{"messages": "canary-of-the-tests", }')

    assert "canary" not in str(found.value)


NOT_TEXT = [1, 1.5, True, [], {}]
NOT_NUMBERS = ["1", True, [], {}]
NOT_WHOLE = ["1", 1.5, True, [], {}]
NOT_BOOLEAN = ["true", 1, 0, [], {}]
NOT_OBJECTS = ["x", 1, True, {}, ["x"], [None], [[]]]
NOT_OBJECT = ["x", 1, True, []]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("model", value) for value in NOT_TEXT),
        *(("user", value) for value in NOT_TEXT),
        *(("reasoning_effort", value) for value in NOT_TEXT),
        *(("temperature", value) for value in NOT_NUMBERS),
        *(("top_p", value) for value in NOT_NUMBERS),
        *(("presence_penalty", value) for value in NOT_NUMBERS),
        *(("frequency_penalty", value) for value in NOT_NUMBERS),
        *(("top_k", value) for value in NOT_WHOLE),
        *(("seed", value) for value in NOT_WHOLE),
        *(("max_tokens", value) for value in [*NOT_WHOLE, 0, -1]),
        *(("n", value) for value in [*NOT_WHOLE, 0, -1]),
        *(("parallel_tool_calls", value) for value in NOT_BOOLEAN),
        *(("tools", value) for value in NOT_OBJECTS),
        *(("tool_choice", value) for value in [1, True, []]),
        *(("response_format", value) for value in NOT_OBJECT),
        *(("stream_options", value) for value in NOT_OBJECT),
        *(("stop", value) for value in [1, True, {}, [1], ["x", None]]),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_its_name(name, wrong):
    found = refused(**{name: wrong})

    assert found.param == name
    assert f"`{name}`" in str(found)


def part(**fields):
    return [{"role": "user", "content": [{"type": "text", "text": "Hello"}, fields]}]


def call(**fields):
    return [{"role": "assistant", "content": None, "tool_calls": [fields]}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        pytest.param(None, "messages", id="absent"),
        pytest.param([], "messages", id="none"),
        pytest.param({}, "messages", id="object"),
        pytest.param("Hello", "messages", id="text"),
        pytest.param(["Hello"], "messages[0]", id="a-message-of-text"),
        pytest.param([*HELLO, None], "messages[1]", id="a-message-of-null"),
        pytest.param([{"content": "Hello"}], "messages[0].role", id="no-role"),
        pytest.param([{"role": "admin", "content": "Hello"}], "messages[0].role", id="unknown-role"),
        pytest.param([{"role": ["user"], "content": "Hello"}], "messages[0].role", id="list-of-roles"),
        pytest.param([{"role": {}, "content": "Hello"}], "messages[0].role", id="object-as-role"),
        pytest.param([{"role": "user"}], "messages[0].content", id="no-content"),
        pytest.param([{"role": "tool", "content": None}], "messages[0].content", id="null-content"),
        pytest.param([{"role": "user", "content": 1}], "messages[0].content", id="number-as-content"),
        pytest.param([{"role": "user", "content": {}}], "messages[0].content", id="object-as-content"),
        pytest.param([{"role": "user", "content": ["Hello"]}], "messages[0].content[0]", id="part-of-text"),
        pytest.param(part(), "messages[0].content[1]", id="part-without-type"),
        pytest.param(part(type=1), "messages[0].content[1]", id="part-of-numbered-type"),
        pytest.param(part(type="text"), "messages[0].content[1].text", id="text-part-without-text"),
        pytest.param(part(type="text", text=1), "messages[0].content[1].text", id="text-part-of-number"),
        pytest.param(part(type="image_url"), "messages[0].content[1].image_url.url", id="image-without-url"),
        pytest.param(part(type="image_url", image_url="x"), "messages[0].content[1].image_url.url", id="image-as-text"),
        pytest.param(
            part(type="image_url", image_url={"url": 1}), "messages[0].content[1].image_url.url", id="image-url-number"
        ),
        pytest.param(
            [{"role": "tool", "content": "x", "tool_call_id": 1}], "messages[0].tool_call_id", id="call-id-number"
        ),
        pytest.param([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls", id="calls-as-object"),
        pytest.param([{"role": "assistant", "tool_calls": ["x"]}], "messages[0].tool_calls[0]", id="call-as-text"),
        pytest.param(call(), "messages[0].tool_calls[0]", id="empty-call"),
        pytest.param(call(type="function", function={}), "messages[0].tool_calls[0]", id="call-without-id"),
        pytest.param(call(id=1, type="function"), "messages[0].tool_calls[0]", id="call-with-numbered-id"),
        pytest.param(call(id="call_1"), "messages[0].tool_calls[0]", id="call-without-type"),
        pytest.param(call(id="call_1", type="function"), "messages[0].tool_calls[0].function", id="call-of-nothing"),
        pytest.param(
            call(id="call_1", type="function", function={"name": "look", "arguments": {}}),
            "messages[0].tool_calls[0].function",
            id="call-with-arguments-as-object",
        ),
    ],
)
def test_a_message_at_fault_is_refused_by_its_path(messages, param):
    found = refused(messages=messages)

    assert found.param == param
    assert f"`{param}`" in str(found)


def test_missing_messages_have_a_code_of_their_own():
    assert refused(messages=None).code == "missing_parameter"


def test_every_parameter_is_read_into_its_field():
    tools = [{"type": "function", "function": {"name": "look"}}]
    asked = read(
        model="large", temperature=0, top_p=0.5, top_k=3, max_tokens=1, stop="END", seed=-1, presence_penalty=-2,
        frequency_penalty=2, n=1, tools=tools, tool_choice="auto", parallel_tool_calls=False,
        response_format={"type": "json_object"}, reasoning_effort="low", user="ada",
    )  # fmt: skip

    assert (asked.model_name, asked.temperature, asked.top_p, asked.top_k) == ("large", 0, 0.5, 3)
    assert (asked.max_tokens, asked.stop, asked.seed, asked.n) == (1, ("END",), -1, 1)
    assert (asked.presence_penalty, asked.frequency_penalty) == (-2, 2)
    assert (asked.tools, asked.tool_choice, asked.parallel_tool_calls) == (tuple(tools), "auto", False)
    assert asked.response_format == {"type": "json_object"}
    assert (asked.reasoning_effort, asked.user) == ("low", "ada")
    assert asked.extra == {}


@pytest.mark.parametrize("absent", [{}, {"temperature": None, "tools": None, "stop": None, "stream_options": None}])
def test_null_is_the_same_as_not_given(absent):
    asked = read(**absent)

    assert (asked.temperature, asked.tools, asked.stop, asked.extra) == (None, (), (), {})


def test_what_the_hub_does_not_know_travels_along():
    asked = read(verbosity="low", logit_bias={"50256": -100}, min_p=None)

    assert asked.extra == {"verbosity": "low", "logit_bias": {"50256": -100}, "min_p": None}


def test_how_the_answer_is_to_be_sent_is_no_parameter_of_the_model():
    asked = read(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})

    assert asked.extra == {"stream_options": {"include_obfuscation": False}}


def test_a_dialects_own_keys_are_no_parameters():
    asked = read_chat_request({"messages": HELLO, "provider": "acme", "other": 1}, more=("provider",))

    assert asked.extra == {"other": 1}


def test_a_dialects_own_messages_stand_for_those_of_the_body():
    turns = (ChatMessage(role="user", content="Hello"),)

    assert read_chat_request({}, messages=turns).messages == turns


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        pytest.param({"type": "text", "text": "Hi"}, TextPart("Hi"), id="text"),
        pytest.param(
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
            TextPart("Hi", {"cache_control": {"type": "ephemeral"}}),
            id="text-with-more",
        ),
        pytest.param({"type": "image_url", "image_url": {"url": "u"}}, ImagePart("u"), id="image"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, ImagePart("u", "low"), id="image-detail"
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "u", "size": 1}},
            OpaquePart({"type": "image_url", "image_url": {"url": "u", "size": 1}}),
            id="image-with-more",
        ),
        pytest.param({"type": "input_audio", "x": 1}, OpaquePart({"type": "input_audio", "x": 1}), id="another-kind"),
    ],
)
def test_each_kind_of_part_is_read(wire, expected):
    assert read(messages=[{"role": "user", "content": [wire]}]).messages[0].content == (expected,)


def test_a_tool_call_is_read_with_its_arguments_as_written():
    wire = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1,}'}, "index": 0}

    [message] = read(messages=[{"role": "assistant", "tool_calls": [wire]}]).messages

    assert message.tool_calls == (ToolCall("call_1", "look", '{"q": 1,}', {"index": 0}),)


ROUTING = (
    "api_key", "api_base", "base_url", "api_version", "api_type", "custom_llm_provider", "endpoint", "proxy",
    "extra_headers",
)  # fmt: skip


@pytest.mark.parametrize("name", ROUTING)
@pytest.mark.parametrize("value", ["http://attacker.example", None, {}])
def test_what_would_choose_address_or_key_is_refused_at_the_top(name, value):
    with pytest.raises(BadRequestError, match=f"`{name}` cannot be set by a caller") as found:
        refuse_routing_fields({"messages": HELLO, name: value})

    assert (found.value.param, found.value.code) == (name, "forbidden_parameter")


@pytest.mark.parametrize("holder", ["extra_body", "extra_query", "litellm_params", "model_kwargs", "provider_options"])
@pytest.mark.parametrize("name", ["api_key", "api_base", "base_url"])
def test_what_would_choose_address_or_key_is_refused_in_extension_objects(holder, name):
    with pytest.raises(BadRequestError) as found:
        refuse_routing_fields({"messages": HELLO, holder: {name: "http://attacker.example"}})

    assert (found.value.param, found.value.code) == (f"{holder}.{name}", "forbidden_parameter")
    assert "attacker" not in str(found.value)


@pytest.mark.parametrize(
    ("smuggled", "param"),
    [
        pytest.param({"extra_body": {"litellm_params": {"api_base": "u"}}}, "extra_body.api_base", id="in-an-object"),
        pytest.param(
            {"litellm_params": {"fallbacks": [{}, {"base_url": "u"}]}}, "litellm_params.base_url", id="in-both"
        ),
        pytest.param({"extra_body": [{"api_key": "k"}]}, "extra_body.api_key", id="in-a-list"),
    ],
)
def test_nothing_is_smuggled_deep_inside_an_extension_object(smuggled, param):
    with pytest.raises(BadRequestError) as found:
        refuse_routing_fields({"messages": HELLO, **smuggled})

    assert (found.value.param, found.value.code) == (param, "forbidden_parameter")


def test_no_depth_hides_what_is_smuggled():
    deep = b'{"extra_body": ' + b'{"a": [' * 500 + b'{"api_key": "k"}' + b"]}" * 500 + b"}"

    with pytest.raises(BadRequestError, match="api_key"):
        refuse_routing_fields(read_json(deep))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "my api_key", "base_url": "u"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "api_key": "k"}]}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_key": {}}}}}]},
        {"tool_choice": {"type": "function", "function": {"name": "api_key"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"base_url": {}}}}}},
        {"metadata": {"api_key": "the user's own", "base_url": "u"}},
        {"extra_body": {"top_k": 1}},
        {"extra_body": "text"},
        {"extra_body": None},
    ],
)
def test_the_same_names_in_messages_tools_and_metadata_are_the_users_own(body):
    before = json.dumps(body)

    refuse_routing_fields(body)

    assert json.dumps(body) == before


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-5, 5) | st.floats(-2, 2)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


def objects(required, optional=None, *, more=True):
    """Objects with these fields, and with some that nobody knows."""
    known = st.fixed_dictionaries(required, optional=optional or {})
    unknown = st.dictionaries(TEXT.map("x_{}".format), VALUES, max_size=2 if more else 0)
    return st.builds(lambda one, other: {**other, **one}, known, unknown)


IMAGES = objects({"url": TEXT}, {"detail": st.sampled_from(["low", "high"]) | st.none()})
PARTS = (
    objects({"type": st.just("text"), "text": TEXT})
    | objects({"type": st.just("image_url"), "image_url": IMAGES})
    | objects({"type": st.sampled_from(["input_audio", "file", "video_url"])})
)
CONTENT = TEXT | st.lists(PARTS, max_size=3)
FUNCTIONS = objects({"name": TEXT, "arguments": TEXT})
CALLS = objects({"id": TEXT, "type": st.just("function"), "function": FUNCTIONS}) | objects(
    {"id": TEXT, "type": st.just("custom"), "custom": objects({"name": TEXT, "input": TEXT})}
)
TURNS = objects({"role": st.sampled_from(["system", "developer", "user"]), "content": CONTENT}, {"name": TEXT})
CALLING_TURNS = objects(
    {
        "role": st.just("assistant"),
        "content": st.none() | CONTENT,
        "tool_calls": st.lists(CALLS, min_size=1, max_size=2),
    }
)
TOOL_TURNS = objects({"role": st.just("tool"), "content": CONTENT, "tool_call_id": TEXT})
TOOLS = objects({"type": st.just("function"), "function": objects({"name": TEXT}, {"parameters": VALUES})})
PARAMS = {
    "temperature": NUMBERS,
    "top_p": NUMBERS,
    "top_k": st.integers(0, 9),
    "seed": st.integers(),
    "presence_penalty": NUMBERS,
    "frequency_penalty": NUMBERS,
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 9),
    "stop": st.lists(TEXT, min_size=1, max_size=2),
    "response_format": objects({"type": TEXT}),
    "reasoning_effort": TEXT,
    "user": TEXT,
}
TOOL_PARAMS = {
    "tool_choice": TEXT | objects({"type": TEXT}),
    "parallel_tool_calls": st.booleans(),
}
MESSAGES = {"messages": st.lists(TURNS | CALLING_TURNS | TOOL_TURNS, min_size=1, max_size=3), "model": TEXT}
BODIES = objects(MESSAGES, PARAMS) | objects(
    {**MESSAGES, "tools": st.lists(TOOLS, min_size=1, max_size=2)}, {**PARAMS, **TOOL_PARAMS}
)


@pytest.mark.slow
@settings(deadline=None)
@given(BODIES)
def test_a_request_read_and_rendered_again_is_the_same(body):
    rendered = openai_payload(read_chat_request(body), length_param="max_tokens")

    assert rendered == body


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_the_length_keeps_the_name_that_the_caller_gave_it_where_the_provider_takes_it(limit):
    body = {"messages": HELLO, "model": "m", limit: 5}

    assert openai_payload(read_chat_request(body), length_param=limit) == body

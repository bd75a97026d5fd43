import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors
from providers.backends.mistral import MistralProvider, mistral_call_id
from providers.types import (
    ChatMessage,
    ChatRequest,
    Endpoint,
    ImagePart,
    ModelInfo,
    OpaquePart,
    TextPart,
    ToolCall,
    Usage,
)
from tests.providers.backends.streams import read_stream
from tests.wire import sample

NEVER_SENT = {"max_completion_tokens", "seed", "stream_options", "user", "logit_bias", "store"}
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}


def make_mistral():
    endpoint = Endpoint(name="mi", base_url="https://x.example", api_key="k-1")
    return MistralProvider(endpoint, client=None)


def call_for(*messages, stream=False, **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return make_mistral().chat_call(ChatRequest(messages=messages, model_name="m", **params), stream=stream)


def test_a_request_becomes_the_documented_one():
    call = call_for(
        ChatMessage(role="developer", content="Be brief."),
        ChatMessage(
            role="user",
            content=(TextPart("What is it?", {"cache_control": {}}), ImagePart("https://images.example/cat.png")),
        ),
        ChatMessage(role="assistant", tool_calls=(ToolCall("D681PevKs", "look", "{}", {"index": 0}),)),
        ChatMessage(role="tool", content="42", tool_call_id="D681PevKs"),
        ChatMessage(role="user", content="And?", extra={"name": "ann"}),
        temperature=1.4,
        top_p=0.9,
        max_tokens=500,
        stop=("END",),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        n=2,
        tools=({"type": "function", "function": LOOK | {"x": 1}, "y": 2},),
        tool_choice="any",
        parallel_tool_calls=False,
        reasoning_effort="high",
        user="u-1",
        extra={"safe_prompt": True, "logit_bias": {}, "store": False, "a_parameter_of_tomorrow": 1},
    )

    assert call.json == sample("mistral", "request") | {"model": "m"}
    assert call.dropped_params == (
        "a_parameter_of_tomorrow",
        "logit_bias",
        "messages.name",
        "store",
        "temperature",
        "user",
    )


def test_a_stream_is_asked_for_without_stream_options():
    call = call_for(stream=True, extra={"stream_options": {"include_obfuscation": False}})

    assert call.json["stream"] is True
    assert "stream_options" not in call.json


@given(st.dictionaries(st.sampled_from([*NEVER_SENT, "x", "functions"]), st.integers(), max_size=4))
def test_what_mistral_refuses_is_never_sent_but_told(extra):
    call = call_for(extra=extra, user="u", seed=1)

    assert call.json.keys().isdisjoint(NEVER_SENT | {"x", "functions"})
    assert set(extra) - {"max_completion_tokens", "seed", "stream_options"} <= set(call.dropped_params)


def test_the_newer_name_of_the_length_is_understood():
    assert call_for(extra={"max_completion_tokens": 5}).json["max_tokens"] == 5


@pytest.mark.parametrize(
    ("temperature", "sent", "dropped"),
    [(0.0, 0.0, ()), (1.0, 1.0, ()), (1.01, 1.0, ("temperature",)), (2, 1.0, ("temperature",))],
)
def test_a_temperature_is_at_most_one(temperature, sent, dropped):
    call = call_for(temperature=temperature)

    assert (call.json["temperature"], call.dropped_params) == (sent, dropped)


@pytest.mark.parametrize(
    ("effort", "sent", "dropped"),
    [
        ("none", "none", ()),
        ("minimal", "none", ("reasoning_effort",)),
        ("low", "high", ("reasoning_effort",)),
        ("high", "high", ()),
        ("max", "high", ("reasoning_effort",)),
    ],
)
def test_an_effort_is_all_or_nothing(effort, sent, dropped):
    call = call_for(reasoning_effort=effort)

    assert (call.json["reasoning_effort"], call.dropped_params) == (sent, dropped)


@given(st.text(min_size=1))
def test_ids_of_tool_calls_take_the_form_that_mistral_demands(id_):
    mapped = mistral_call_id(id_)

    assert re.fullmatch(r"[A-Za-z0-9]{9}", mapped)
    assert mistral_call_id(mapped) == mapped
    assert mistral_call_id(id_) == mapped


def test_a_call_and_its_result_keep_the_same_id():
    messages = call_for(
        ChatMessage(role="assistant", tool_calls=(ToolCall("call_1", "f", "{}"), ToolCall("call_2", "f", "{}"))),
        ChatMessage(role="tool", content="1", tool_call_id="call_1"),
        ChatMessage(role="tool", content="2", tool_call_id="call_2"),
    ).json["messages"]

    ids = [call["id"] for call in messages[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in messages[1:]]
    assert len(set(ids)) == 2


def test_an_answer_begun_by_the_caller_is_marked_as_such():
    messages = call_for(
        ChatMessage(role="user", content="Hi"), ChatMessage(role="assistant", content="My name is")
    ).json["messages"]

    assert messages[-1] == {"role": "assistant", "content": "My name is", "prefix": True}


def test_parts_that_are_mistrals_own_are_sent_as_they_are():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Fur."}], "closed": True}
    turn = ChatMessage(role="assistant", content=(OpaquePart(thinking), TextPart("Red.")))

    messages = call_for(turn, ChatMessage(role="user", content="Sure?")).json["messages"]

    assert messages[0]["content"] == [thinking, {"type": "text", "text": "Red."}]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        pytest.param({"tools": ({"type": "custom", "custom": {"name": "run"}},)}, "tools", id="custom-tool"),
        pytest.param(
            {"messages": (ChatMessage(role="assistant", tool_calls=(ToolCall("c", "", "", {"type": "custom"}),)),)},
            "messages",
            id="custom-call",
        ),
    ],
)
def test_what_would_make_another_request_of_it_is_refused(params, param):
    ask = ChatRequest(**{"messages": (ChatMessage(role="user", content="Hi"),)} | params)

    with pytest.raises(errors.RequestRejectedError) as caught:
        make_mistral().chat_call(ask, stream=False)

    assert caught.value.param == param


def test_a_reply_is_read():
    response = make_mistral().read_reply(sample("mistral", "reply"))

    choice = response.choices[0]
    assert (choice.content, choice.finish_reason) == ("", "tool_calls")
    assert choice.tool_calls == (ToolCall("D681PevKs", "look", "{}"),)
    assert response.usage == Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4)


def test_thoughts_are_told_apart_from_the_answer():
    choice = make_mistral().read_reply(sample("mistral", "reply_thinking")).choices[0]

    assert (choice.content, choice.reasoning) == ("Red.", "Fur. ")
    assert (choice.finish_reason, choice.native_finish_reason) == ("length", "model_length")


def test_a_stream_is_read_frame_by_frame():
    reader, chunks = read_stream(make_mistral(), sample("mistral", "stream"))

    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert reader.finished
    assert "".join(choice.content or "" for choice in choices) == "Red."
    assert "".join(choice.reasoning or "" for choice in choices) == "Fur. "
    assert chunks[-1].usage == Usage(prompt_tokens=9, completion_tokens=5)


@pytest.mark.parametrize("case", sample("mistral", "errors"), ids=lambda case: case["id"])
def test_each_refusal_has_its_error(case):
    error = make_mistral().read_error(case["status"], case["body"])

    assert type(error) is getattr(errors, case["error"])
    assert error.code == case.get("code")
    assert not error.message.startswith("The provider answered with status")


def test_an_error_in_mid_stream_is_raised():
    [case] = [case for case in sample("mistral", "errors") if case["id"] == "in-mid-stream"]

    with pytest.raises(errors.UpstreamError, match="Service unavailable"):
        read_stream(make_mistral(), [{"data": case["body"]}])


def test_models_tell_what_they_can():
    models, _ = make_mistral().read_models(sample("mistral", "models"))

    assert models == [
        ModelInfo(name="mistral-small-latest", capabilities=("chat", "tools", "vision"), context_window=131072),
        ModelInfo(name="mistral-embed", context_window=8192),
    ]

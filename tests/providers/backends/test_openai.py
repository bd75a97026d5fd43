import pytest
from chat.dialects.parsing import read_chat_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from providers import errors
from providers.backends.openai import OpenAIProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, ToolCall, Usage
from tests import fakes
from tests.providers.backends.streams import read_stream
from tests.wire import sample

USAGE = Usage(prompt_tokens=90, completion_tokens=30, cached_tokens=64, cache_write_tokens=5, reasoning_tokens=12)
ASK = (ChatMessage(role="user", content="Hi"),)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda v: st.lists(v) | st.dictionaries(st.text(max_size=3), v),
    max_leaves=4,
)


def make_openai(**settings):
    return OpenAIProvider(
        Endpoint(name="oai", base_url="https://x.example", api_key="k-1", settings=settings), client=None
    )


def payload(request, *, stream=False):
    return make_openai().chat_call(request, stream=stream).json


def test_a_request_of_the_sdk_goes_out_as_it_came_in():
    body = sample("openai", "request")

    assert payload(read_chat_request(body)) == body


@given(st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), JSON, max_size=3))
def test_what_is_not_known_goes_out_as_it_came_in_wherever_it_stands(unknown):
    message = {"role": "user", "content": [{"type": "text", "text": "Hi"} | unknown, {"type": "x"} | unknown]} | unknown
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}} | unknown
    turn = {"role": "assistant", "content": None, "tool_calls": [call]} | unknown
    body = {"model": "m", "messages": [message, turn]} | unknown

    assert payload(read_chat_request(body)) == body


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        pytest.param({"max_tokens": 5}, {"max_completion_tokens": 5}, id="old-name"),
        pytest.param({"max_completion_tokens": 5}, {"max_completion_tokens": 5}, id="new-name"),
        pytest.param({"max_tokens": 4, "max_completion_tokens": 5}, {"max_completion_tokens": 5}, id="both"),
        pytest.param({"stop": "END"}, {"stop": ["END"]}, id="one-stop"),
        pytest.param({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}, id="no-tools"),
        pytest.param({"stream_options": {"include_obfuscation": False}}, {}, id="stream-options-of-no-stream"),
        pytest.param({"temperature": 0, "seed": 0}, {"temperature": 0, "seed": 0}, id="zeros"),
    ],
)
def test_what_openai_would_refuse_is_put_right(given_, sent):
    ask = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}

    assert payload(read_chat_request(ask | given_)) == ask | sent


def test_parameters_left_out_for_want_of_tools_are_told():
    request = ChatRequest(messages=ASK, tool_choice="required")

    assert make_openai().chat_call(request, stream=False).dropped_params == ("tool_choice",)


def test_a_stream_is_asked_for_with_its_usage_and_the_callers_options():
    request = ChatRequest(messages=ASK, extra={"stream_options": {"include_obfuscation": False}})

    body = payload(request, stream=True)

    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_headers_carry_key_organization_and_project():
    headers = make_openai(organization="org-1", project="proj-1").auth_headers()

    assert headers == {"authorization": "Bearer k-1", "openai-organization": "org-1", "openai-project": "proj-1"}


@pytest.mark.parametrize("settings", [{"organisation": "x"}, {"project": "a\r\nb"}, {"organization": ""}])
def test_settings_that_are_none_are_refused(settings):
    with pytest.raises(ValidationError):
        make_openai(**settings)


def test_a_reply_keeps_every_choice_and_all_that_is_not_known():
    response = make_openai().read_reply(sample("openai", "reply"))

    first, second = response.choices
    assert (first.index, first.content, first.finish_reason) == (0, "Red.", "stop")
    assert first.logprobs["content"][0]["token"] == "Red"
    assert first.extra == {"annotations": [{"type": "url_citation"}]}
    assert (second.index, second.content, second.refusal) == (1, None, "No.")
    assert second.finish_reason == "content_filter"
    assert second.extra["content_filter_results"] == {"hate": {"filtered": False}}
    assert (response.model_name, response.upstream_id) == ("gpt-6-luna-2026-09-01", "chatcmpl-1")
    assert response.usage == USAGE
    assert response.extra == {"created": 1790000000, "service_tier": "flex", "system_fingerprint": "fp_1"}


def test_parallel_tool_calls_stay_apart():
    choice = make_openai().read_reply(sample("openai", "reply_tool_calls")).choices[0]

    custom = {"id": "call_3", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    assert choice.finish_reason == "tool_calls"
    assert choice.tool_calls == (
        ToolCall("call_1", "look", '{"q":"x"}'),
        ToolCall("call_2", "look", '{"q":"y"}'),
        ToolCall("call_3", "", "", custom),
    )


def test_tool_calls_of_a_reply_can_be_sent_back():
    reply = sample("openai", "reply_tool_calls")
    calls = make_openai().read_reply(reply).choices[0].tool_calls

    body = payload(ChatRequest(messages=(ChatMessage(role="assistant", tool_calls=calls),)))

    assert body["messages"][0]["tool_calls"] == reply["choices"][0]["message"]["tool_calls"]


def test_a_stream_is_read_frame_by_frame():
    reader, chunks = read_stream(make_openai(), sample("openai", "stream"))

    assert reader.finished
    assert [choice.content for chunk in chunks for choice in chunk.choices] == ["", "Re", "d.", None]
    assert [chunk.has_content for chunk in chunks] == [False, True, True, False, False]
    assert chunks[2].choices[0].logprobs["content"][0]["token"] == "d"
    assert (chunks[3].choices[0].finish_reason, chunks[4].choices, chunks[4].usage) == ("stop", (), USAGE)
    assert chunks[0].extra == {"created": 1790000000, "system_fingerprint": "fp_1", "obfuscation": "x7"}
    assert chunks[0].choices[0].extra == {}


def test_deltas_of_parallel_tool_calls_are_relayed_untouched():
    _, chunks = read_stream(make_openai(), sample("openai", "stream_tool_calls"))

    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.tool_calls]
    assert [(d.index, d.id, d.name, d.arguments) for d in deltas] == [
        (0, "call_1", "look", ""),
        (0, None, None, '{"q":'),
        (0, None, None, '"x"}'),
        (1, "call_2", "find", ""),
        (1, None, None, "{}"),
    ]
    assert chunks[3].choices[0].finish_reason == "tool_calls"


def test_a_stream_of_two_choices_is_finished_with_the_second():
    def frame(index, reason):
        return {"data": {"choices": [{"index": index, "delta": {}, "finish_reason": reason}]}}

    begun = [frame(0, None), frame(1, None), frame(0, "stop")]

    assert not read_stream(make_openai(), begun)[0].finished
    assert read_stream(make_openai(), [*begun, frame(1, "length")])[0].finished


def test_a_delta_that_comes_after_the_finish_reason_leaves_the_answer_finished():
    ended = {"data": {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}}
    late = {"data": {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}}

    assert read_stream(make_openai(), [ended, late])[0].finished


def test_an_answer_broken_off_is_the_providers_fault():
    with pytest.raises(errors.UpstreamError):
        make_openai().read_reply({"choices": [{"message": {"content": "Re"}, "finish_reason": "error"}]})


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": 5}])
def test_a_reply_without_choices_is_malformed(body):
    with pytest.raises(errors.MalformedReplyError):
        make_openai().read_reply(body)


@pytest.mark.parametrize("case", sample("openai", "errors"), ids=lambda case: case["id"])
def test_each_refusal_has_its_error(case):
    error = make_openai().read_error(case["status"], case["body"])

    assert type(error) is getattr(errors, case["error"])
    assert error.message == case["body"]["error"]["message"]
    assert (error.code, error.param) == (case.get("code"), case.get("param"))


def test_models_are_listed_by_id():
    models, cursor = make_openai().read_models(sample("openai", "models"))

    assert models == [ModelInfo(name="gpt-6-luna"), ModelInfo(name="text-embedding-4")]
    assert cursor is None


async def test_the_wire_carries_key_and_accepts_a_stream(make_fake, make_backend):
    fake = make_fake("openai", api_key="k-7")
    backend = make_backend(fake, "openai", api_key="k-7", organization="org-1")

    _ = [chunk async for chunk in backend.stream_chat(ChatRequest(messages=ASK, model_name="m"))]

    headers = fake.chats[0].headers
    assert (headers["accept"], headers["content-type"]) == ("text/event-stream", "application/json")
    assert (headers["authorization"], headers["openai-organization"]) == ("Bearer k-7", "org-1")


async def test_dropped_parameters_come_with_the_answer_and_the_first_chunk(make_fake, make_backend):
    backend = make_backend(make_fake("openai"), "openai")
    request = ChatRequest(messages=ASK, model_name="m", tool_choice="required")

    response = await backend.chat(request)
    chunks = [chunk async for chunk in backend.stream_chat(request)]

    assert response.dropped_params == ("tool_choice",)
    assert [chunk.dropped_params for chunk in chunks if chunk.dropped_params] == [("tool_choice",)]
    assert chunks[0].dropped_params


async def test_an_answer_whose_usage_is_cut_off_is_whole(make_fake, make_backend):
    fake = make_fake("openai")
    fake.fail(fakes.cut_after(len(fake.script.words) + 2))

    chunks = [c async for c in make_backend(fake, "openai").stream_chat(ChatRequest(messages=ASK, model_name="m"))]

    assert chunks[-1].choices[0].finish_reason == "stop"
    assert not any(chunk.usage for chunk in chunks)


async def test_a_done_without_a_finish_reason_is_a_truncated_answer(make_fake, make_backend):
    fake = make_fake("openai")
    fake.fail(fakes.pieces(b'data: {"choices": [{"delta": {"content": "Re"}}]}\n\n', b"data: [DONE]\n\n"))

    with pytest.raises(errors.TruncatedReplyError):
        _ = [c async for c in make_backend(fake, "openai").stream_chat(ChatRequest(messages=ASK, model_name="m"))]

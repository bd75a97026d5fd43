import json

import pytest
from pydantic import ValidationError

from providers import errors
from providers.backends.anthropic import AnthropicProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ImagePart, ModelInfo, TextPart, ToolCall, Usage
from tests.providers.backends.streams import joined, read_stream
from tests.wire import sample

USAGE = Usage(prompt_tokens=78, completion_tokens=30, cached_tokens=64, cache_write_tokens=5, reasoning_tokens=12)
PNG_DATA = sample("anthropic", "request")["messages"][0]["content"][1]["source"]["data"]


def make_anthropic(**settings):
    endpoint = Endpoint(name="claude", base_url="https://api.anthropic.com", api_key="k-1", settings=settings)
    return AnthropicProvider(endpoint, client=None)


def make_request(*messages, **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name="claude-sonnet-4-6", **params)


def call_for(*messages, settings=None, **params):
    return make_anthropic(**settings or {}).chat_call(make_request(*messages, **params), stream=False)


def test_a_request_becomes_the_documented_one():
    request = make_request(
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="developer", content="Answer in English."),
        ChatMessage(
            role="user",
            content=(
                TextPart("What is it?"),
                ImagePart(f"data:image/png;base64,{PNG_DATA}"),
                ImagePart("https://images.example/cat.png"),
            ),
        ),
        ChatMessage(role="assistant", content="A cat."),
        ChatMessage(role="system", content="Use one word."),
        ChatMessage(role="user", content="Its colour?"),
        temperature=1.4,
        top_p=0.9,
        top_k=40,
        max_tokens=500,
        stop=("END",),
        user="u-1",
    )

    call = make_anthropic().chat_call(request, stream=False)

    assert call.path == "/v1/messages"
    assert call.json == sample("anthropic", "request")
    assert call.dropped_params == ("temperature",)


def test_a_stream_is_asked_for_in_the_body():
    call = make_anthropic().chat_call(make_request(), stream=True)

    assert call.json["stream"] is True


def test_the_key_goes_into_its_header_alone():
    assert make_anthropic().auth_headers() == {"x-api-key": "k-1"}


@pytest.mark.parametrize(
    ("params", "pinned", "version"),
    [
        pytest.param({}, None, "2026-10-21", id="newest"),
        pytest.param({"top_p": 0.0}, None, "2023-06-01", id="sampling-needs-the-old-one"),
        pytest.param({}, "2023-06-01", "2023-06-01", id="pinned-old"),
        pytest.param({"temperature": 0.0}, "2026-10-21", "2026-10-21", id="pinned-new"),
    ],
)
def test_sampling_and_settings_choose_the_api_version(params, pinned, version):
    call = call_for(settings={"api_version": pinned}, **params)

    assert call.headers == {"anthropic-version": version}


def test_a_pinned_new_version_costs_the_sampling_parameters():
    call = call_for(settings={"api_version": "2026-10-21"}, temperature=0.5, top_k=3)

    assert not {"temperature", "top_k"} & call.json.keys()
    assert call.dropped_params == ("temperature", "top_k")


def test_max_tokens_has_a_default_that_settings_change():
    assert call_for().json["max_tokens"] == 4096
    assert call_for(settings={"default_max_tokens": 100}).json["max_tokens"] == 100
    assert call_for(max_tokens=7).json["max_tokens"] == 7
    assert call_for(extra={"max_completion_tokens": 9}).json["max_tokens"] == 9


@pytest.mark.parametrize("settings", [{"default_max_tokens": 0}, {"api_version": "newest"}, {"unknown": 1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        make_anthropic(**settings)


def test_what_merely_tunes_is_dropped_and_named():
    call = call_for(
        ChatMessage(role="user", content="Hi", extra={"name": "ann", "audio": None}),
        seed=1,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        reasoning_effort="low",
        extra={"verbosity": "low", "store": False},
    )

    assert call.dropped_params == (
        "frequency_penalty",
        "messages.name",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "store",
        "verbosity",
    )
    assert call.json.keys() == {"model", "max_tokens", "messages"}


def test_neighbouring_turns_of_one_side_become_one_and_blank_texts_none():
    call = call_for(
        ChatMessage(role="user", content="One"),
        ChatMessage(role="user", content=" \n"),
        ChatMessage(role="assistant", content=None),
        ChatMessage(role="user", content=(TextPart(""), TextPart("Two"))),
    )

    texts = [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    assert call.json["messages"] == [{"role": "user", "content": texts}]


def test_instructions_alone_are_refused():
    with pytest.raises(errors.RequestRejectedError, match="at least one message") as caught:
        call_for(ChatMessage(role="system", content="Be brief."))

    assert caught.value.param == "messages"


def test_a_reply_becomes_an_answer():
    response = make_anthropic().read_reply(sample("anthropic", "reply"))

    choice = response.choices[0]
    assert (choice.content, choice.reasoning) == ("Grey.", "A fur colour is asked for.")
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "end_turn")
    assert (response.model_name, response.upstream_id) == ("claude-sonnet-4-6-20260217", "msg_01")
    assert response.usage == USAGE


def test_tool_calls_in_a_reply_are_read():
    response = make_anthropic().read_reply(sample("anthropic", "reply_tool_use"))

    assert response.finish_reason == "tool_calls"
    assert response.content == "Let me look."
    assert response.choices[0].tool_calls == (
        ToolCall("toolu_1", "look", '{"q": "x"}'),
        ToolCall("toolu_2", "now", "{}"),
    )


@pytest.mark.parametrize(
    ("native", "canonical"),
    [
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("compaction", "stop"),
        ("a_reason_of_tomorrow", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons_are_translated(native, canonical):
    response = make_anthropic().read_reply(sample("anthropic", "reply") | {"stop_reason": native})

    assert response.finish_reason == canonical
    assert response.choices[0].native_finish_reason == native


def test_a_stream_becomes_chunks():
    reader, chunks = read_stream(make_anthropic(), sample("anthropic", "stream"))

    assert joined(chunks, "content") == "Grey."
    assert joined(chunks, "reasoning") == "A fur colour is asked for."
    assert (joined(chunks, "finish_reason"), joined(chunks, "native_finish_reason")) == ("stop", "end_turn")
    assert (chunks[0].model_name, chunks[0].upstream_id) == ("claude-sonnet-4-6-20260217", "msg_01")
    assert reader.finished


def test_the_usage_of_a_stream_starts_with_the_prompt_and_ends_complete():
    _, chunks = read_stream(make_anthropic(), sample("anthropic", "stream"))

    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert (usages[0].prompt_tokens, usages[0].completion_tokens) == (78, 1)
    assert usages[-1] == USAGE


def test_tool_calls_in_a_stream_are_numbered_from_0_and_have_arguments():
    _, chunks = read_stream(make_anthropic(), sample("anthropic", "stream_tool_use"))

    deltas = [delta for chunk in chunks for choice in chunk.choices for delta in choice.tool_calls]
    assert [(delta.index, delta.id, delta.name) for delta in deltas if delta.id] == [
        (0, "toolu_1", "look"),
        (1, "toolu_2", "now"),
    ]
    arguments = ["".join(delta.arguments for delta in deltas if delta.index == index) for index in (0, 1)]
    assert [json.loads(text) for text in arguments] == [{"q": "x"}, {}]
    assert joined(chunks, "finish_reason") == "tool_calls"


def test_a_stream_without_message_stop_is_not_finished():
    reader, _ = read_stream(make_anthropic(), sample("anthropic", "stream")[:-1])

    assert not reader.finished


def test_an_error_within_a_stream_is_classified():
    frame = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    with pytest.raises(errors.OverloadedError, match="Overloaded"):
        read_stream(make_anthropic(), [{"data": frame}])


def test_an_error_of_the_status_200_is_classified():
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}

    with pytest.raises(errors.RateLimitedError):
        make_anthropic().read_reply(body)
    assert isinstance(make_anthropic().read_error(200, body), errors.RateLimitedError)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("anthropic", "errors")])
def test_a_refusal_picks_the_error(case):
    error = make_anthropic().read_error(case["status"], case["body"])

    assert type(error).__name__ == case["error"]
    assert error.upstream_status == case["status"]
    assert error.code == case["code"]


def test_the_message_is_the_providers_own_or_tells_the_status():
    anthropic = make_anthropic()

    told = anthropic.read_error(401, {"type": "error", "error": {"message": "invalid x-api-key"}})
    page = anthropic.read_error(502, "<html>secret innards</html>")

    assert told.message == "invalid x-api-key"
    assert page.message == "The provider answered with status 502."


def test_a_model_without_sampling_is_asked_again_without():
    call = call_for(temperature=0.5, top_p=0.9, seed=1)
    case = next(case for case in sample("anthropic", "errors") if case["id"] == "sampling-deprecated")
    anthropic = make_anthropic()

    again = anthropic.without_refused(call, anthropic.read_error(case["status"], case["body"]))

    assert not {"temperature", "top_p"} & again.json.keys()
    assert again.dropped_params == ("seed", "temperature", "top_p")


def test_another_refusal_is_not_asked_again():
    anthropic = make_anthropic()

    assert (
        anthropic.without_refused(call_for(temperature=0.5), errors.RequestRejectedError("top_p: out of range")) is None
    )
    assert anthropic.without_refused(call_for(), errors.RequestRejectedError("`top_p` is deprecated")) is None


def test_models_are_listed_with_what_they_can():
    models, cursor = make_anthropic().read_models(sample("anthropic", "models"))

    assert models == [
        ModelInfo(
            name="claude-opus-5-5",
            capabilities=("chat", "tools", "vision", "reasoning"),
            context_window=1000000,
            max_output_tokens=128000,
        ),
        ModelInfo(name="claude-sonnet-4-6", capabilities=("chat", "tools")),
    ]
    assert cursor == "claude-sonnet-4-6"


def test_the_model_list_is_asked_for_page_by_page():
    anthropic = make_anthropic()

    assert anthropic.models_call(None).query == {"limit": "1000"}
    assert anthropic.models_call("m-9").query == {"limit": "1000", "after_id": "m-9"}
    assert anthropic.read_models(sample("anthropic", "models_last_page")) == ([], None)


def test_the_probe_lists_one_model():
    call = make_anthropic().probe_call()

    assert (call.method, call.path, call.query) == ("GET", "/v1/models", {"limit": "1"})
    assert call.headers == {"anthropic-version": "2026-10-21"}

import pytest

from providers import errors
from providers.backends.google import GoogleProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ImagePart, ModelInfo, TextPart, ToolCall, Usage
from tests.providers.backends.streams import joined, read_stream
from tests.wire import sample

USAGE = Usage(prompt_tokens=78, completion_tokens=30, cached_tokens=64, reasoning_tokens=12)
PNG_DATA = sample("google", "request")["contents"][0]["parts"][1]["inlineData"]["data"]
SIGNED = {"extra_content": {"google": {"thought_signature": "Cr4C"}}}


def make_google():
    endpoint = Endpoint(name="gemini", base_url="https://generativelanguage.googleapis.com/v1", api_key="k-1")
    return GoogleProvider(endpoint, client=None)


def make_request(*messages, model_name="gemini-3.8-flash", **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name=model_name, **params)


def call_for(*messages, stream=False, **params):
    return make_google().chat_call(make_request(*messages, **params), stream=stream)


def finished_with(reason, **candidate):
    return {"candidates": [{"finishReason": reason, "index": 0, **candidate}]}


def test_a_request_becomes_the_documented_one():
    call = call_for(
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
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=0.25,
    )

    assert call.path == "/models/gemini-3.8-flash:generateContent"
    assert call.json == sample("google", "request")
    assert (call.query, call.dropped_params) == ({}, ())


def test_a_stream_is_asked_for_in_the_address():
    call = call_for(stream=True)

    assert call.path == "/models/gemini-3.8-flash:streamGenerateContent"
    assert call.query == {"alt": "sse"}


@pytest.mark.parametrize(
    ("model_name", "path"),
    [
        pytest.param("models/gemini-3.8-flash", "/models/gemini-3.8-flash:generateContent", id="with-its-prefix"),
        pytest.param("../files?x=1", "/models/..%2Ffiles%3Fx%3D1:generateContent", id="leads-nowhere-else"),
    ],
)
def test_a_model_name_stays_one_part_of_the_path(model_name, path):
    assert call_for(model_name=model_name).path == path


def test_the_key_goes_into_its_header_alone():
    google = make_google()

    assert google.auth_headers() == {"x-goog-api-key": "k-1"}
    assert "k-1" not in repr((call_for(stream=True), google.models_call("2"), google.probe_call()))


def test_a_bare_request_has_no_configuration():
    assert call_for().json == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_the_newer_name_of_the_length_is_understood():
    call = call_for(extra={"max_completion_tokens": 9})

    assert call.json["generationConfig"] == {"maxOutputTokens": 9}


def test_an_image_whose_address_tells_no_type_is_sent_without():
    call = call_for(ChatMessage(role="user", content=(ImagePart("https://images.example/cat?v=1"),)))

    assert call.json["contents"][0]["parts"] == [{"fileData": {"fileUri": "https://images.example/cat?v=1"}}]


def test_what_merely_tunes_is_dropped_and_named():
    call = call_for(user="u-1", reasoning_effort="low", extra={"verbosity": "low", "store": False})

    assert call.dropped_params == ("reasoning_effort", "store", "user", "verbosity")


def test_instructions_alone_are_refused():
    with pytest.raises(errors.RequestRejectedError, match="at least one message") as caught:
        call_for(ChatMessage(role="system", content="Be brief."))

    assert caught.value.param == "messages"


def test_a_reply_becomes_an_answer_without_its_thoughts():
    response = make_google().read_reply(sample("google", "reply"))

    choice = response.choices[0]
    assert (choice.content, choice.reasoning) == ("Grey.", "A fur colour is asked for.")
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "STOP")
    assert (response.model_name, response.upstream_id) == ("gemini-3.8-flash", "resp1")
    assert response.usage == USAGE


def test_function_calls_in_a_reply_are_read_and_named_where_google_does_not():
    response = make_google().read_reply(sample("google", "reply_function_call"))

    assert response.finish_reason == "tool_calls"
    assert response.choices[0].tool_calls == (
        ToolCall("c1", "look", '{"q": "x"}', SIGNED),
        ToolCall("call_resp2_1", "now", "{}"),
    )


def test_a_blocked_prompt_is_an_error_although_the_status_is_200():
    body = sample("google", "reply_blocked_prompt")

    with pytest.raises(errors.ContentBlockedError, match="PROHIBITED_CONTENT"):
        make_google().read_reply(body)
    with pytest.raises(errors.ContentBlockedError, match="PROHIBITED_CONTENT"):
        read_stream(make_google(), [{"data": body}])


def test_a_blocked_answer_is_an_answer_without_content():
    response = make_google().read_reply(sample("google", "reply_blocked_answer"))

    assert (response.finish_reason, response.choices[0].content) == ("content_filter", None)


def test_a_reply_without_candidates_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="candidates"):
        make_google().read_reply({"responseId": "resp1"})


@pytest.mark.parametrize(
    ("native", "canonical"),
    [
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("LANGUAGE", "stop"),
        ("A_REASON_OF_TOMORROW", "stop"),
    ],
)
def test_finish_reasons_are_translated(native, canonical):
    response = make_google().read_reply(finished_with(native, content={"parts": [{"text": "Some"}]}))

    assert response.finish_reason == canonical
    assert response.choices[0].native_finish_reason == native


@pytest.mark.parametrize(
    ("native", "error"),
    [
        ("MALFORMED_FUNCTION_CALL", errors.UpstreamError),
        ("MALFORMED_RESPONSE", errors.UpstreamError),
        ("UNEXPECTED_TOOL_CALL", errors.UpstreamError),
        ("TOO_MANY_TOOL_CALLS", errors.UpstreamError),
        ("MISSING_THOUGHT_SIGNATURE", errors.UpstreamError),
        ("OTHER", errors.UpstreamError),
        ("PUP_LIMITED_DISABLED", errors.CredentialRejectedError),
    ],
)
def test_a_failed_finish_is_an_error(native, error):
    with pytest.raises(error):
        make_google().read_reply(finished_with(native))
    with pytest.raises(error):
        read_stream(make_google(), [{"data": finished_with(native)}])


def test_a_stream_becomes_chunks():
    reader, chunks = read_stream(make_google(), sample("google", "stream"))

    assert joined(chunks, "content") == "Grey."
    assert joined(chunks, "reasoning") == "A fur colour is asked for."
    assert (joined(chunks, "finish_reason"), joined(chunks, "native_finish_reason")) == ("stop", "STOP")
    assert (chunks[0].model_name, chunks[0].upstream_id) == ("gemini-3.8-flash", "resp1")
    assert reader.finished


def test_the_usage_of_a_stream_is_the_last_that_was_told():
    _, chunks = read_stream(make_google(), sample("google", "stream"))

    assert [chunk.usage.completion_tokens if chunk.usage else None for chunk in chunks] == [12, None, 29, 30]
    assert chunks[-1].usage == USAGE


def test_function_calls_in_a_stream_are_numbered_across_frames():
    _, chunks = read_stream(make_google(), sample("google", "stream_function_call"))

    deltas = [delta for chunk in chunks for choice in chunk.choices for delta in choice.tool_calls]
    assert [(delta.index, delta.id, delta.name, delta.arguments) for delta in deltas] == [
        (0, "c1", "look", '{"q": "x"}'),
        (1, "call_resp2_1", "now", "{}"),
    ]
    assert deltas[0].extra == SIGNED
    assert (joined(chunks, "finish_reason"), joined(chunks, "native_finish_reason")) == ("tool_calls", "STOP")


def test_a_stream_without_finish_reason_is_not_finished():
    reader, _ = read_stream(make_google(), sample("google", "stream")[:-1])

    assert not reader.finished


def test_an_error_within_a_stream_is_classified():
    body = next(case["body"] for case in sample("google", "errors") if case["id"] == "overloaded")

    with pytest.raises(errors.OverloadedError, match="overloaded"):
        read_stream(make_google(), [{"data": body}])
    assert isinstance(make_google().read_error(200, body), errors.OverloadedError)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("google", "errors")])
def test_a_refusal_picks_the_error(case):
    error = make_google().read_error(case["status"], case["body"])

    assert type(error).__name__ == case["error"]
    assert error.upstream_status == case["status"]
    for field in {"code", "retry_after_s"} & case.keys():
        assert getattr(error, field) == case[field]


def test_a_retry_delay_is_at_most_a_minute():
    body = {"error": {"code": 429, "details": [{"retryDelay": "86400s"}]}}

    assert make_google().read_error(429, body).retry_after_s == 60


def test_models_are_listed_with_what_they_can_but_for_those_of_no_use():
    models, cursor = make_google().read_models(sample("google", "models"))

    assert models == [
        ModelInfo(
            name="gemini-3.8-flash",
            capabilities=("chat", "reasoning"),
            context_window=1048576,
            max_output_tokens=65536,
        ),
        ModelInfo(name="gemini-embedding-2", capabilities=("embeddings",), context_window=8192, max_output_tokens=1),
    ]
    assert cursor == "page2"


def test_the_model_list_is_asked_for_page_by_page():
    google = make_google()

    assert google.models_call(None).query == {"pageSize": "1000"}
    assert google.models_call("page2").query == {"pageSize": "1000", "pageToken": "page2"}
    assert google.read_models(sample("google", "models_last_page")) == ([ModelInfo(name="of-tomorrow")], None)


def test_the_probe_lists_one_model():
    call = make_google().probe_call()

    assert (call.method, call.path, call.query) == ("GET", "/models", {"pageSize": "1"})

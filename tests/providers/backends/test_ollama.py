import pytest
from pydantic import ValidationError

from providers import errors
from providers.backends.ollama import OllamaProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ImagePart, ModelInfo, TextPart, ToolCall, Usage
from tests.providers.backends.streams import joined, read_stream
from tests.wire import sample

PNG_DATA = sample("ollama", "request")["messages"][2]["images"][0]


def make_ollama(api_key="", **settings):
    endpoint = Endpoint(name="ollama", base_url="http://localhost:11434", api_key=api_key, settings=settings)
    return OllamaProvider(endpoint, client=None)


def make_request(*messages, **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name="qwen3", **params)


def call_for(*messages, stream=False, settings=None, **params):
    return make_ollama(**settings or {}).chat_call(make_request(*messages, **params), stream=stream)


def test_a_request_becomes_the_documented_one():
    call = call_for(
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="developer", content="Answer in English."),
        ChatMessage(role="user", content=(TextPart("What is it?"), ImagePart(f"data:image/png;base64,{PNG_DATA}"))),
        ChatMessage(role="assistant", content="A cat."),
        ChatMessage(role="system", content="Use one word."),
        ChatMessage(role="user", content="Its colour?"),
        stream=True,
        settings={"num_ctx": 8192, "keep_alive": "5m", "think": False},
        temperature=1.4,
        top_p=0.9,
        top_k=40,
        max_tokens=500,
        stop=("END",),
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=0.25,
    )

    assert call.path == "/api/chat"
    assert call.json == sample("ollama", "request")
    assert call.dropped_params == ()


def test_a_bare_request_says_that_it_wants_no_stream_and_no_forgetting():
    assert call_for().json == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
    }


def test_the_newer_name_of_the_length_is_understood():
    call = call_for(extra={"max_completion_tokens": 9})

    assert call.json["options"] == {"num_predict": 9}


def test_a_key_is_sent_only_where_there_is_one():
    assert make_ollama().auth_headers() == {}
    assert make_ollama(api_key="k-1").auth_headers() == {"authorization": "Bearer k-1"}


@pytest.mark.parametrize(
    "settings", [{"keep_alive": "0"}, {"keep_alive": "-1m"}, {"keep_alive": "1h30m"}, {"think": "low"}]
)
def test_settings_go_into_every_chat(settings):
    body = call_for(settings=settings).json

    assert settings.items() <= body.items()


@pytest.mark.parametrize(
    "settings", [{"num_ctx": 0}, {"keep_alive": "5"}, {"keep_alive": "soon"}, {"think": "hard"}, {"unknown": 1}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        make_ollama(**settings)


def test_what_merely_tunes_is_dropped_and_named():
    call = call_for(user="u-1", reasoning_effort="low", extra={"verbosity": "low", "store": False})

    assert call.dropped_params == ("reasoning_effort", "store", "user", "verbosity")


def test_an_image_that_lies_elsewhere_is_refused():
    message = ChatMessage(role="user", content=(ImagePart("https://images.example/cat.png"),))

    with pytest.raises(errors.RequestRejectedError, match="ollama") as caught:
        call_for(message)

    assert caught.value.param == "messages"


def test_a_reply_becomes_an_answer():
    response = make_ollama().read_reply(sample("ollama", "reply"))

    choice = response.choices[0]
    assert (choice.content, choice.reasoning) == ("Grey.", "A fur colour is asked for.")
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "stop")
    assert response.model_name == "qwen3"
    assert response.usage == Usage(prompt_tokens=78, completion_tokens=30)


def test_counts_that_are_left_out_are_0():
    body = sample("ollama", "reply")
    del body["prompt_eval_count"]
    del body["eval_count"]

    assert make_ollama().read_reply(body).usage == Usage(prompt_tokens=0, completion_tokens=0)


def test_tool_calls_in_a_reply_are_read():
    response = make_ollama().read_reply(sample("ollama", "reply_tool_calls"))

    assert response.finish_reason == "tool_calls"
    assert response.choices[0].content is None
    assert response.choices[0].tool_calls == (
        ToolCall("call_ab12cd34", "look", '{"q": "x"}'),
        ToolCall("call_1", "now", "{}"),
    )


@pytest.mark.parametrize(("native", "canonical"), [("length", "length"), ("load", "stop"), ("of-tomorrow", "stop")])
def test_done_reasons_are_translated(native, canonical):
    response = make_ollama().read_reply(sample("ollama", "reply") | {"done_reason": native})

    assert response.finish_reason == canonical
    assert response.choices[0].native_finish_reason == native


def test_an_answer_without_done_reason_was_aborted():
    aborted = sample("ollama", "reply") | {"done_reason": ""}

    with pytest.raises(errors.UpstreamError, match="aborted"):
        make_ollama().read_reply(aborted)
    with pytest.raises(errors.UpstreamError, match="aborted"):
        read_stream(make_ollama(), [{"data": aborted}])


def test_an_answer_that_is_not_done_is_malformed():
    with pytest.raises(errors.MalformedReplyError, match="done"):
        make_ollama().read_reply(sample("ollama", "reply") | {"done": False})


def test_a_stream_becomes_chunks():
    reader, chunks = read_stream(make_ollama(), sample("ollama", "stream"))

    assert reader.framing == "ndjson"
    assert joined(chunks, "content") == "Grey."
    assert joined(chunks, "reasoning") == "A fur colour is asked for."
    assert (joined(chunks, "finish_reason"), joined(chunks, "native_finish_reason")) == ("stop", "stop")
    assert [chunk.usage for chunk in chunks] == [None] * 3 + [Usage(prompt_tokens=78, completion_tokens=30)]
    assert reader.finished


def test_tool_calls_in_a_stream_are_numbered_across_frames():
    _, chunks = read_stream(make_ollama(), sample("ollama", "stream_tool_calls"))

    deltas = [delta for chunk in chunks for choice in chunk.choices for delta in choice.tool_calls]
    assert [(delta.index, delta.id, delta.name, delta.arguments) for delta in deltas] == [
        (0, "call_ab12cd34", "look", '{"q": "x"}'),
        (1, "call_1", "now", "{}"),
    ]
    assert (joined(chunks, "finish_reason"), joined(chunks, "native_finish_reason")) == ("tool_calls", "stop")


def test_a_stream_that_is_not_done_is_not_finished():
    reader, _ = read_stream(make_ollama(), sample("ollama", "stream")[:-1])

    assert not reader.finished


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param("model runner has unexpectedly stopped", errors.UpstreamError, id="crashed"),
        pytest.param("prompt is longer than the context length", errors.ContextTooLongError, id="too-long"),
    ],
)
def test_an_error_after_the_status_200_is_classified(message, error):
    with pytest.raises(error, match=message):
        read_stream(make_ollama(), [{"data": {"error": message}}])
    with pytest.raises(error, match=message):
        make_ollama().read_reply({"error": message})


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in sample("ollama", "errors")])
def test_a_refusal_picks_the_error(case):
    error = make_ollama().read_error(case["status"], case["body"])

    assert type(error).__name__ == case["error"]
    assert error.upstream_status == case["status"]
    if isinstance(case["body"], dict):
        assert error.message == case["body"]["error"]


def test_models_are_listed_with_what_they_can():
    models, cursor = make_ollama().read_models(sample("ollama", "models"))

    assert models == [
        ModelInfo(name="qwen3:latest", capabilities=("chat", "tools", "reasoning"), context_window=40960),
        ModelInfo(name="all-minilm:latest", capabilities=("embeddings",), context_window=512),
        ModelInfo(name="old:latest"),
    ]
    assert cursor is None


def test_models_and_version_are_asked_for_at_no_cost():
    listing, probe = make_ollama().models_call(None), make_ollama().probe_call()

    assert (listing.method, listing.path) == ("GET", "/api/tags")
    assert (probe.method, probe.path) == ("GET", "/api/version")

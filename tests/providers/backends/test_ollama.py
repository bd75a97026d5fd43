import pytest
from pydantic import ValidationError

from providers.backends.ollama import OllamaProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, Reasoning
from tests.wire import sample


def make_ollama(api_key="", **settings):
    endpoint = Endpoint(name="ollama", base_url="http://localhost:11434", api_key=api_key, settings=settings)
    return OllamaProvider(endpoint, client=None)


def make_request(*messages, **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name="qwen3", **params)


def call_for(*messages, stream=False, settings=None, **params):
    return make_ollama(**settings or {}).chat_call(make_request(*messages, **params), stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_each_chat_says_whether_it_is_to_be_streamed(stream):
    call = call_for(stream=stream)

    assert (call.path, call.json["stream"], call.dropped_params) == ("/api/chat", stream, ())


def test_a_key_is_sent_only_where_there_is_one():
    assert make_ollama().auth_headers() == {}
    assert make_ollama(api_key="k-1").auth_headers() == {"authorization": "Bearer k-1"}


@pytest.mark.parametrize(
    "settings",
    [{"keep_alive": "0"}, {"keep_alive": "-1m"}, {"keep_alive": "1h30m"}, {"think": "low"}, {"think": False}],
)
def test_settings_go_into_every_chat(settings):
    body = call_for(settings=settings).json

    assert settings.items() <= body.items()
    assert call_for(settings={"num_ctx": 8192}).json["options"] == {"num_ctx": 8192}


def test_a_model_that_cannot_think_is_asked_again_without():
    ollama, call = make_ollama(), call_for(reasoning=Reasoning("low"))

    again = ollama.without_refused(call, ollama.read_error(400, {"error": '"gemma" does not support thinking'}))

    assert ("think" in again.json, again.path, again.dropped_params) == (False, "/api/chat", ("reasoning_effort",))


@pytest.mark.parametrize(
    "settings", [{"num_ctx": 0}, {"keep_alive": "5"}, {"keep_alive": "soon"}, {"think": "hard"}, {"unknown": 1}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        make_ollama(**settings)


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

import pytest

from providers.backends.google import GoogleProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, Reasoning
from tests.wire import sample


def make_google():
    endpoint = Endpoint(name="gemini", base_url="https://generativelanguage.googleapis.com/v1", api_key="k-1")
    return GoogleProvider(endpoint, client=None)


def make_request(*messages, model_name="gemini-3.8-flash", **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name=model_name, **params)


def call_for(*messages, stream=False, **params):
    return make_google().chat_call(make_request(*messages, **params), stream=stream)


def test_the_model_and_the_stream_are_asked_for_in_the_address():
    whole, stream = call_for(), call_for(stream=True)

    assert (whole.path, whole.query) == ("/models/gemini-3.8-flash:generateContent", {})
    assert (stream.path, stream.query) == ("/models/gemini-3.8-flash:streamGenerateContent", {"alt": "sse"})
    assert whole.json == stream.json


@pytest.mark.parametrize(
    ("model_name", "config", "dropped"),
    [
        ("gemini-3.8-flash", {"thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}}, ()),
        ("models/gemini-3-pro", {"thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}}, ()),
        ("gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}}, ()),
        ("gemini-2.0-flash", None, ("reasoning_effort",)),
        ("gemma-4", None, ("reasoning_effort",)),
    ],
)
def test_how_much_to_think_is_told_as_the_model_is_told_it(model_name, config, dropped):
    call = call_for(model_name=model_name, reasoning=Reasoning("low"))

    assert (call.json.get("generationConfig"), call.dropped_params) == (config, dropped)


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


def test_models_are_listed_with_what_they_can_but_for_those_of_no_use():
    models, cursor = make_google().read_models(sample("google", "models"))

    assert models == [
        ModelInfo(
            name="gemini-3.8-flash",
            capabilities=("chat", "reasoning", "tools", "vision"),
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

import pytest
from pydantic import ValidationError

from providers.backends.anthropic import AnthropicProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, Sampling
from tests.wire import sample


def make_anthropic(**settings):
    endpoint = Endpoint(name="claude", base_url="https://api.anthropic.com", api_key="k-1", settings=settings)
    return AnthropicProvider(endpoint, client=None)


def make_request(*messages, **params):
    messages = messages or (ChatMessage(role="user", content="Hi"),)
    return ChatRequest(messages=messages, model_name="claude-sonnet-4-6", **params)


def call_for(*messages, settings=None, **params):
    return make_anthropic(**settings or {}).chat_call(make_request(*messages, **params), stream=False)


def test_each_chat_goes_to_one_path_and_says_whether_it_is_to_be_streamed():
    whole, stream = (make_anthropic().chat_call(make_request(), stream=stream) for stream in (False, True))

    assert (whole.path, stream.path) == ("/v1/messages", "/v1/messages")
    assert (whole.json.get("stream"), stream.json["stream"]) == (None, True)


def test_the_key_goes_into_its_header_alone():
    assert make_anthropic().auth_headers() == {"x-api-key": "k-1"}


@pytest.mark.parametrize(
    ("sampling", "pinned", "version"),
    [
        pytest.param({}, None, "2026-10-21", id="newest"),
        pytest.param({"top_p": 0.0}, None, "2023-06-01", id="sampling-needs-the-old-one"),
        pytest.param({}, "2023-06-01", "2023-06-01", id="pinned-old"),
        pytest.param({"temperature": 0.0}, "2026-10-21", "2026-10-21", id="pinned-new"),
    ],
)
def test_sampling_and_settings_choose_the_api_version(sampling, pinned, version):
    call = call_for(settings={"api_version": pinned}, sampling=Sampling(**sampling))

    assert call.headers == {"anthropic-version": version}


def test_a_pinned_new_version_costs_the_sampling_parameters():
    call = call_for(settings={"api_version": "2026-10-21"}, sampling=Sampling(temperature=0.5, top_k=3))

    assert not {"temperature", "top_k"} & call.json.keys()
    assert call.dropped_params == ("temperature", "top_k")


def test_max_tokens_has_a_default_that_settings_change():
    assert call_for().json["max_tokens"] == 4096
    assert call_for(settings={"default_max_tokens": 100}).json["max_tokens"] == 100
    assert call_for(sampling=Sampling(max_tokens=7)).json["max_tokens"] == 7


@pytest.mark.parametrize("settings", [{"default_max_tokens": 0}, {"api_version": "newest"}, {"unknown": 1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        make_anthropic(**settings)


def test_a_model_without_sampling_is_asked_again_without():
    call = call_for(sampling=Sampling(temperature=0.5, top_p=0.9, seed=1))
    case = next(case for case in sample("anthropic", "errors") if case["id"] == "sampling-deprecated")
    anthropic = make_anthropic()

    again = anthropic.without_refused(call, anthropic.read_error(case["status"], case["body"]))

    assert not {"temperature", "top_p"} & again.json.keys()
    assert again.dropped_params == ("seed", "temperature", "top_p")
    assert (again.path, again.headers) == (call.path, call.headers)
    assert anthropic.without_refused(again, anthropic.read_error(case["status"], case["body"])) is None


def test_models_are_listed_with_what_they_can():
    models, cursor = make_anthropic().read_models(sample("anthropic", "models"))

    assert models == [
        ModelInfo(
            name="claude-opus-5-5",
            capabilities=("chat", "tools", "vision", "reasoning"),
            context_window=1000000,
            max_output_tokens=128000,
        ),
        ModelInfo(name="claude-sonnet-4-6", capabilities=("chat", "tools", "vision")),
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

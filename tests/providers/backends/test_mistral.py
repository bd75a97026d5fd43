import pytest

from providers.backends.mistral import MistralProvider
from providers.types import ChatMessage, ChatRequest, Endpoint, ModelInfo, Sampling
from tests.wire import sample

ASK = ChatRequest(messages=(ChatMessage("user", "Hi"),), model_name="m", sampling=Sampling(seed=7, max_tokens=5))


def make_mistral():
    endpoint = Endpoint(name="mi", base_url="https://x.example", api_key="k-1")
    return MistralProvider(endpoint, client=None)


@pytest.mark.parametrize("stream", [False, True])
def test_chats_go_where_openais_go_in_mistrals_own_words(stream):
    call = make_mistral().chat_call(ASK, stream=stream)

    assert call.path == "/chat/completions"
    assert (call.json["random_seed"], call.json["max_tokens"], call.json.get("stream", False)) == (7, 5, stream)
    assert "stream_options" not in call.json


def test_the_key_goes_into_its_header():
    assert make_mistral().auth_headers() == {"authorization": "Bearer k-1"}


def test_models_tell_what_they_can():
    models, _ = make_mistral().read_models(sample("mistral", "models"))

    assert models == [
        ModelInfo(name="mistral-small-latest", capabilities=("chat", "tools", "vision"), context_window=131072),
        ModelInfo(name="mistral-embed", context_window=8192),
    ]

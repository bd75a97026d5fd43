"""Whatever a provider sends instead of what its samples show, nothing but a ProviderError comes of it."""

import asyncio
import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends import BACKENDS
from providers.errors import ProviderError
from providers.http import HttpReply
from providers.types import ChatMessage, ChatRequest, Endpoint
from tests import wire
from tests.providers.backends.mutations import mutated

pytestmark = pytest.mark.slow

WIRE = Path(wire.__file__).parent
every_type = pytest.mark.parametrize("provider_type", BACKENDS)


ASK = ChatRequest(messages=(ChatMessage("user", "Hi"),), model_name="m")


class Body(httpx.AsyncByteStream):
    def __init__(self, content):
        self.content = content

    async def __aiter__(self):
        yield self.content


class Answering:
    """The wire: whatever it is asked, it answers the same."""

    def __init__(self, content):
        self.content = content

    async def send(self, call):
        return HttpReply(httpx.Response(200, stream=Body(self.content)), call)


def make_backend(provider_type, content=b""):
    endpoint = Endpoint(name="acme", base_url="https://acme.example", api_key="k-1")
    return BACKENDS[provider_type](endpoint, client=Answering(content))


async def streamed(backend):
    return [delta async for delta in backend.stream_chat(ASK)]


@cache
def broken(provider_type, kind):
    """Return a strategy for the samples of a kind, each with one fault."""
    names = sorted(path.stem for path in (WIRE / provider_type).glob(f"{kind}*.json"))
    return st.one_of([mutated(wire.sample(provider_type, name)) for name in names])


def bodies_in(items, key):
    return [item.get(key) for item in items if isinstance(item, dict)]


@every_type
@given(data=st.data())
def test_a_broken_reply_raises_provider_errors_alone(provider_type, data):
    body = data.draw(broken(provider_type, "reply"))

    with suppress(ProviderError):
        asyncio.run(make_backend(provider_type, json.dumps(body).encode()).chat(ASK))


@every_type
@given(data=st.data())
def test_a_broken_stream_raises_provider_errors_alone(provider_type, data):
    frames = bodies_in(data.draw(broken(provider_type, "stream")), "data")
    form = "{}\n" if provider_type == "ollama" else "data: {}\n\n"
    content = "".join(form.format(json.dumps(frame)) for frame in frames)

    with suppress(ProviderError):
        asyncio.run(streamed(make_backend(provider_type, content.encode())))


@every_type
@given(data=st.data())
def test_a_broken_model_list_raises_provider_errors_alone(provider_type, data):
    body = data.draw(broken(provider_type, "models"))

    with suppress(ProviderError):
        make_backend(provider_type).read_models(body)


@every_type
@given(data=st.data())
def test_a_broken_refusal_is_still_an_error(provider_type, data):
    bodies = bodies_in(data.draw(broken(provider_type, "errors")), "body")
    backend = make_backend(provider_type)

    assert all(isinstance(backend.read_error(status, body), ProviderError) for status in (400, 429) for body in bodies)

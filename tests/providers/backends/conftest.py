from contextlib import ExitStack

import pytest

from providers.backends import BACKENDS
from providers.http import HttpClient
from providers.types import Endpoint, ProviderType, Timeouts
from tests.fakes import FakeProvider

KEY = "sk-canary-4f9d1c"


@pytest.fixture
async def client():
    async with HttpClient() as client:
        yield client


@pytest.fixture
def make_fake():
    """Start fake providers, which end with the test."""
    with ExitStack() as fakes:
        yield lambda provider_type, **script: fakes.enter_context(FakeProvider(provider_type, **script))


@pytest.fixture
def make_backend(client):
    def make(fake, provider_type, *, api_key=KEY, read_s=5.0, **settings):
        timeouts = Timeouts(connect_s=2.0, read_s=read_s)
        endpoint = Endpoint(name="acme", base_url=fake.url, api_key=api_key, timeouts=timeouts, settings=settings)
        return BACKENDS[ProviderType(provider_type)](endpoint, client)

    return make

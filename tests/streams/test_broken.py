"""Streams that break, from providers of every type: before the first content to another, after it with an error."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus, ContentKind
from providers.types import ProviderType
from tests import fakes
from tests.fakes import Answer, FakeProvider
from tests.live import LiveHub
from tests.streams.callers import ASK

PREAMBLES = {
    ProviderType.OPENAI: 1,
    ProviderType.ANTHROPIC: 2,
    ProviderType.GOOGLE: 0,
    ProviderType.MISTRAL: 1,
    ProviderType.OLLAMA: 0,
    ProviderType.CUSTOM: 1,
}
"""How many frames of each format come before any content."""

API_KEY = "sk-upstream-0123456789"
BREAKS = [pytest.param(fakes.end_after, id="ended"), pytest.param(fakes.cut_after, id="cut")]


@pytest.fixture(params=list(ProviderType))
def broken(request: pytest.FixtureRequest, hub: LiveHub) -> Iterator[FakeProvider]:
    """A provider of every type, first in order for the model `shared`."""
    with FakeProvider(request.param, api_key=API_KEY) as fake:
        hub.add_provider(
            fake, name="first", provider_type=request.param, api_key=API_KEY, models=("shared",), priority=1
        )
        yield fake


@pytest.fixture
def key(hub: LiveHub, broken: FakeProvider, upstream: FakeProvider) -> str:
    hub.add_provider(upstream, name="second", models=("shared",), priority=2)
    return hub.issue_key()


def preamble(fake: FakeProvider) -> int:
    return next(PREAMBLES[kind] for kind, form in fakes.FORMATS.items() if form is fake.format)


def ask(hub: LiveHub, key: str) -> httpx.Response:
    body = {"model": "shared", "messages": ASK, "stream": True}
    return hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(key))


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_stream_that_breaks_after_content_ends_in_an_error_and_keeps_the_partial_text(
    hub, key, broken, upstream, breaks
):
    broken.fail(breaks(preamble(broken) + 2))

    answer = ask(hub, key)

    *_, last = answer.text.removesuffix("\n\n").split("\n\n")
    assert (answer.status_code, list(json.loads(last.removeprefix("data: ")))) == (200, ["error"])
    assert "[DONE]" not in answer.text
    assert (len(broken.chats), len(upstream.chats)) == (1, 0)
    chat = Chat.objects.get()
    assert (chat.status, chat.provider, chat.finish_reason) == (ChatStatus.TRUNCATED, "first", "")
    assert b"Hello from" in bytes(ChatContent.objects.get(chat_id=chat.pk, part=ContentKind.RESPONSE).body)


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_stream_that_breaks_before_content_is_asked_for_elsewhere(hub, key, broken, upstream, breaks):
    broken.fail(breaks(preamble(broken)))

    answer = ask(hub, key)

    assert answer.text.endswith("data: [DONE]\n\n")
    assert (len(broken.chats), len(upstream.chats)) == (1, 1)
    chat = Chat.objects.get()
    assert (chat.status, chat.provider) == (ChatStatus.SUCCEEDED, "second")
    assert [attempt["ok"] for attempt in chat.attempts] == [False, True]


def empty_deltas(answer: Answer) -> Answer:
    """Say nothing, in many words, and break off."""
    deltas = ({"role": "assistant"}, {"content": ""}, {"content": None}, {})
    frames = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return fakes.pieces(*(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames), fakes.Signal.CUT)(
        answer
    )


@pytest.mark.parametrize("broken", [ProviderType.CUSTOM], indirect=True)
def test_empty_deltas_are_no_content(hub, key, broken, upstream):
    broken.fail(empty_deltas)

    answer = ask(hub, key)

    assert answer.text.endswith("data: [DONE]\n\n")
    assert (len(broken.chats), len(upstream.chats)) == (1, 1)

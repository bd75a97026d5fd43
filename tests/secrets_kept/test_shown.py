"""What objects show of themselves, in a log line or a debugger, while chats are under way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction

from chat.ledger.models import LedgerEvent
from llmhub import settings
from providers.models import ProviderConfig
from tests import fakes
from tests.fakes import Answer, FakeProvider
from tests.live import LiveHub, until
from tests.secrets_kept.canaries import ANSWER, ECHO, PROMPT, PROVIDER_KEY, found, shown

SECOND_KEY = "canary-header-5d21f08a7c"
SECRETS = (PROVIDER_KEY, SECOND_KEY, PROMPT, ANSWER)


def stall(answer: Answer) -> Answer:
    return (fakes.stall_after(3) if answer.is_chunked else fakes.stall_before_headers())(answer)


@pytest.fixture
def under_way(hub: LiveHub, upstream: FakeProvider) -> Iterator[str]:
    """A stream and a whole answer, each after an attempt that failed; yields the caller's key."""
    key = hub.issue_key()
    asked = {"model": "shared", "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]}
    tool = {"type": "function", "function": {"name": "f", "description": PROMPT, "parameters": {}}}
    bodies = [{**asked, "stream": True}, {**asked, "tools": [tool]}]
    with FakeProvider("custom") as failing:
        failing.always = fakes.status(500, ECHO)
        upstream.always = stall
        hub.add_provider(failing, name="failing", api_key=PROVIDER_KEY, models=("shared",), priority=1)
        extra = {"extra_headers": {"x-team": SECOND_KEY}}
        hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY, models=("shared",), timeout=30, settings=extra)
        answers = [hub.in_background(lambda body=body: post(hub, key, body)) for body in bodies]
        until(lambda: len(upstream.chats) == len(answers))
        yield key
        upstream.release()
        assert [answer.result(10).status_code for answer in answers] == [200, 200]


def post(hub: LiveHub, key: str, body: object) -> httpx.Response:
    return hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(key))


def test_no_object_of_a_chat_under_way_shows_what_it_holds(under_way):
    said = shown()

    assert {"Exchange", "ChatRequest", "ChatMessage", "TextPart", "Content", "Attempt", "AttemptLog"} <= set(said)
    assert {"HttpCall", "Endpoint", "ProviderEntry", "Principal", "Secret"} <= set(said)
    assert {kind: held for kind, text in said.items() if (held := found(text, *SECRETS, under_way))} == {}


def test_no_entry_that_waits_for_the_ledger_shows_what_it_holds(hub, upstream):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)
    key = hub.issue_key()
    body = {"model": "up/m", "messages": [{"role": "user", "content": PROMPT}]}

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {LedgerEvent._meta.db_table}")
        answer: Future[httpx.Response] = hub.in_background(lambda: post(hub, key, body))
        until(lambda: "LedgerEntry" in shown())
        said = shown()
    answer.result(10)

    assert {kind: held for kind, text in said.items() if (held := found(text, *SECRETS, key))} == {}


@pytest.mark.django_db
def test_no_row_shows_its_key():
    row = ProviderConfig(name="up", provider_type="custom", api_key=PROVIDER_KEY)
    row.save()

    stored = ProviderConfig.objects.get(name="up")

    assert found(f"{row!r} {row} {stored!r} {stored} {stored.api_key!r} {stored.api_key}", PROVIDER_KEY) == []


def test_the_settings_show_no_secret():
    environment = settings.ENV
    secrets = [environment.redis_url, environment.django_secret_key, environment.llmhub_secret_keys]

    said = f"{environment!r} {environment} {django_settings!r} {django_settings._wrapped!r}"

    assert found(said, *(secret.get_secret_value() for secret in secrets)) == []

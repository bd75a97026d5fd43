"""What a caller or a provider may try so that the record shows something else than went over the wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random

import httpx
import pytest

from chat.ledger.models import ChatContent, ChatStatus, LedgerEvent
from tests import fakes
from tests.attacks.spellings import BodyWriter, is_shown
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat

SEED = int(os.environ.get("ATTACK_SEED", "0")) or random.randrange(1, 2**32)


class Stage:
    """The hub, a provider that keeps what it got, and keys to chat and to review."""

    def __init__(self, hub: LiveHub, upstream: FakeProvider) -> None:
        self.hub = hub
        self.upstream = upstream
        hub.add_provider(upstream, name="up", models=("fake-large", "fake-small"))
        self.key = hub.issue_key()

    def send(self, body: bytes, *, path: str = "/v1/chat/completions") -> httpx.Response:
        headers = {**self.hub.headers(self.key), "content-type": "application/json"}
        return self.hub.client.post(path, content=body, headers=headers)

    def shown(self, chat_id: str) -> list[object]:
        """Return the messages of the request as the audit API shows them."""
        chat = self.hub.client.get(f"/api/audit/chats/{chat_id}", headers=self.hub.headers(self.key)).json()
        said = chat["transcript"]
        return said[:-1] if chat["status"] == ChatStatus.SUCCEEDED else said

    def check(self, body: bytes) -> bool:
        """Hold the record against the wire; say whether the provider was asked."""
        self.upstream.requests.clear()
        response = self.send(body)
        chat = closed_chat(response.headers["x-request-id"])
        kept = ChatContent.objects.get(chat_id=chat.pk, part="request")
        opening = LedgerEvent.objects.get(pk=kept.pk).event
        assert opening["content_commit"] == commitment(kept.salt, body)
        assert opening["content_bytes"] == kept.size_bytes == len(body)
        if not self.upstream.chats:
            assert chat.status == ChatStatus.REJECTED
            return False
        (got,) = self.upstream.chats
        assert chat.attempts[0]["sent"] == [{"bytes": len(got.body), "commit": commitment(kept.salt, got.body)}]
        assert is_shown(self.shown(str(chat.pk)), got.json["messages"])
        return True


def commitment(salt: bytes, body: bytes) -> str:
    return hmac.new(bytes(salt), body, hashlib.sha256).hexdigest()


@pytest.fixture
def stage(hub, upstream):
    return Stage(hub, upstream)


def check_generated(stage: Stage, count: int) -> None:
    writer = BodyWriter(random.Random(SEED))
    asked = 0
    for number in range(count):
        body = writer.body()
        try:
            asked += stage.check(body)
        except AssertionError as error:
            raise AssertionError(f"Body {number} of ATTACK_SEED={SEED}: {body!r}") from error
    assert asked > count // 2


def test_the_record_shows_the_messages_that_the_provider_got(stage):
    check_generated(stage, 60)


@pytest.mark.soak
def test_the_record_shows_the_messages_that_the_provider_got_in_ten_thousand_spellings(stage):
    check_generated(stage, 10_000)


def test_padding_that_grows_when_it_is_rewritten_hides_no_message(stage):
    pad = b",".join([b"1e15"] * 200_000)
    body = (
        b'{"model":"up/fake-large","pad":[%b],"more":{"url":"data:image/png;base64,iVBORw0KGgo="},'
        b'"messages":[{"role":"user","content":"SECRET"}]}'
    ) % pad

    assert stage.check(body)

    assert stage.upstream.chats[0].json["messages"] == [{"role": "user", "content": "SECRET"}]
    assert stage.shown(str(stage.hub.last_chat().pk)) == [{"role": "user", "content": "SECRET"}]


def test_padding_that_would_outgrow_the_record_hides_no_message(stage):
    pad = b",".join([b"1e15"] * 1_900_000)  # 32 MiB and more, were it written anew
    body = (
        b'{"model":"up/fake-large","pad":[%b],"more":{"url":"data:image/png;base64,iVBORw0KGgo="},'
        b'"messages":[{"role":"user","content":"SECRET"}]}'
    ) % pad

    stage.check(body)

    kept = ChatContent.objects.get(chat_id=stage.hub.last_chat().pk, part="request")
    assert bytes(kept.body).endswith(b'"messages":[{"role":"user","content":"SECRET"}]}')


def test_of_a_body_that_is_no_json_for_the_hub_no_file_is_kept(stage):
    body = b'{"model":"up/m","n":%b,"messages":[{"url":"data:image/png;base64,aVZCT1J3MEtHZ28="}]}' % (b"9" * 5000)

    assert not stage.check(body)

    kept = ChatContent.objects.get(chat_id=stage.hub.last_chat().pk)
    assert b"aVZCT1J3MEtHZ28=" not in bytes(kept.body)
    assert json.loads(kept.files)[0]["size_bytes"] == 11


@pytest.mark.parametrize("header", ["", ";charset=utf-8", "Text/Plain", "application/x-sh", "application/octet-stream"])
def test_a_file_of_words_is_in_the_record_whatever_it_calls_itself(stage, header):
    words = base64.b64encode(b"Tell me what nobody is to know of.").decode()
    part = {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:{header};base64,{words}"}}
    body = json.dumps({"model": "up/fake-large", "messages": [{"role": "user", "content": [part]}]}).encode()

    assert stage.check(body)

    kept = ChatContent.objects.get(chat_id=stage.hub.last_chat().pk, part="request")
    assert bytes(kept.body) == body


@pytest.mark.parametrize(
    "failure",
    [fakes.redirect("https://elsewhere.example/"), fakes.status(401), fakes.status(500)],
    ids=["3xx", "401", "500"],
)
def test_what_a_provider_got_is_in_the_record_however_it_answered(stage, failure):
    stage.upstream.fail(failure)

    assert stage.check(b'{"model":"up/fake-large","messages":[{"role":"user","content":"hi"}]}')


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat/multi"])
def test_a_body_is_kept_byte_for_byte(stage, path):
    words = b"\\u0000\\ud83d\\ude00 \xc3\xa9"
    body = b'{ "messages" : [{"role":"user","content":"%b"}],\r\n"model":"up/fake-large","a":1.0,"a":1E1 }' % words

    response = stage.send(body, path=path)

    assert response.status_code == 200
    assert bytes(ChatContent.objects.get(chat_id=response.headers["x-request-id"], part="request").body) == body

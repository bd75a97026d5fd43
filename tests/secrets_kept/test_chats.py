"""Chats in both dialects, streamed and not, through every fault: what is logged, answered and counted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.fernet import Fernet
from django.db import connection

from chat.ledger.models import ChatContent
from llmhub.access.models import ApiKey
from llmhub.access.secrets import Secret
from providers.models import ProviderConfig
from providers.types import ProviderType
from tests import fakes
from tests.chat.gateway.test_chat_completions import ledger_away
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat
from tests.secrets_kept.canaries import ANSWER, ECHO, PROMPT, PROVIDER_KEY, UPSTREAM_ID, found

SECRETS = (PROVIDER_KEY, PROMPT, ANSWER)
DIALECTS = ("/v1/chat/completions", "/api/chat/multi")
WAYS = [(path, stream) for path in DIALECTS for stream in (False, True)]
ALL_ECHO = {"error": dict.fromkeys(("message", "code", "param"), ECHO)}
NESTED = {"error": {"message": "No.", "request": {"body": PROMPT, "headers": [PROVIDER_KEY]}}}

SILENT = {
    "success": None,
    "nested-echo": fakes.body(json.dumps(NESTED).encode(), status=500),
    "echo-as-text": fakes.body(ECHO.encode(), status=500, content_type="text/plain"),
    "echo-as-page": fakes.body(f"<html>{ECHO}".encode(), status=400, content_type="text/html"),
    "echo-in-a-200-page": fakes.body(f"<html>{ECHO}".encode(), content_type="text/html"),
    "broken-json": fakes.body(f'{{"choices": [{{"message": "{PROMPT}'.encode()),
    "wrong-shape": fakes.body(json.dumps({"choices": {"message": ECHO}}).encode()),
    "not-an-object": fakes.body(json.dumps(ECHO).encode()),
    "reset-before": fakes.cut_before_headers(),
    "cut-after-headers": fakes.cut_after_headers(),
    "cut-amid": fakes.cut_after(2),
    "truncated": fakes.end_after(2),
    "stall-before": fakes.stall_before_headers(),
    "stall-amid": fakes.stall_after(2),
    "garbage": fakes.garbage(),
    "not-http": fakes.not_http(),
    "bad-line": fakes.bad_line_after(2),
    "wrong-content-type": fakes.wrong_content_type(),
    "gzip": fakes.gzip_bomb(1024),
    "empty": fakes.empty_stream(),
    "redirect": fakes.redirect(f"http://{PROVIDER_KEY}.example/{PROVIDER_KEY}?{PROMPT[:12]}"),
    "redirect-nowhere": fakes.redirect(f"http://[{PROVIDER_KEY}"),
    "id-echo": fakes.status(500, x_request_id=f"{PROVIDER_KEY}-{UPSTREAM_ID}"),
}
"""After these a caller is told nothing of what it asked."""

ECHOING = {
    **{f"status-{code}": fakes.status(code, ECHO) for code in (400, 401, 403, 404, 422, 429, 500, 503)},
    "echoed-code": fakes.body(
        json.dumps({"error": {"message": ECHO, "code": ECHO, "param": ECHO}}).encode(), status=400
    ),
    "error-in-200": fakes.error_in_200(ECHO),
    "error-frame": fakes.error_frame_after(2, ECHO),
    "first-frame": fakes.error_frame_after(0, ECHO),
}
"""These say in the provider's own message what they were asked; a caller may see that, but for the key."""


@pytest.fixture
def key(hub: LiveHub) -> str:
    return hub.issue_key()


def asked(path: str, *, stream: bool) -> dict[str, Any]:
    if path == "/api/chat/multi":
        return {"message": PROMPT, "provider": "up", "model": "fake-large", "stream": stream}
    return {"model": "up/fake-large", "messages": [{"role": "user", "content": PROMPT}], "stream": stream}


def chat_every_way(hub: LiveHub, key: str) -> list[httpx.Response]:
    """Ask in both dialects, for a whole answer and a stream, all at once."""
    headers = hub.headers(key)

    def ask(path: str, stream: bool) -> Future[httpx.Response]:
        return hub.in_background(lambda: hub.client.post(path, json=asked(path, stream=stream), headers=headers))

    return [answer.result(15) for answer in [ask(path, stream) for path, stream in WAYS]]


def served(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}"


def assert_kept(hub: LiveHub, logs: Any, answers: list[httpx.Response], key: str, *, may_tell: tuple[str, ...]) -> None:
    unsayable = {PROVIDER_KEY, key, PROMPT, ANSWER} - set(may_tell)
    assert found(logs.text, *SECRETS, key) == []
    assert [found(served(answer), *unsayable) for answer in answers] == [[]] * len(answers)
    assert found(hub.client.get("/metrics").text, *SECRETS, key, UPSTREAM_ID) == []


@pytest.mark.parametrize("fault", SILENT.values(), ids=SILENT)
def test_a_fault_tells_neither_key_nor_prompt(hub, upstream, key, logs, fault):
    upstream.always = fault
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY, timeout=1)

    answers = chat_every_way(hub, key)

    assert {chat.headers["authorization"] for chat in upstream.chats} == {f"Bearer {PROVIDER_KEY}"}
    assert all(PROMPT in json.dumps(chat.json) for chat in upstream.chats)
    assert 500 not in {answer.status_code for answer in answers}
    assert_kept(hub, logs, answers, key, may_tell=(ANSWER,))


@pytest.mark.parametrize("fault", ECHOING.values(), ids=ECHOING)
def test_a_provider_that_repeats_what_it_got_tells_no_key(hub, upstream, key, logs, fault):
    upstream.always = fault
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)

    answers = chat_every_way(hub, key)

    assert sum("[key]" in answer.text for answer in answers) >= len(WAYS) / 2
    assert_kept(hub, logs, answers, key, may_tell=(ANSWER, PROMPT))


@pytest.mark.parametrize("kind", ProviderType)
def test_no_provider_type_hands_on_a_key_that_a_refusal_repeats(hub, key, logs, kind):
    with FakeProvider(kind) as fake:
        hub.add_provider(fake, name="up", provider_type=kind, api_key=PROVIDER_KEY)
        answers = []
        for code in (400, 401, 429, 500):
            fake.always = fakes.status(code, ECHO)
            answers += chat_every_way(hub, key)

    assert all("[key]" in answer.text for answer in answers)
    assert_kept(hub, logs, answers, key, may_tell=(PROMPT,))


def test_an_id_that_repeats_the_key_is_recorded_without_it(hub, upstream, key):
    upstream.always = fakes.status(500, x_request_id=f"{PROVIDER_KEY}-{UPSTREAM_ID}")
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)

    answer = chat_every_way(hub, key)[0]
    chat = hub.client.get(f"/api/audit/chats/{answer.headers['x-request-id']}", headers=hub.headers(key))

    assert UPSTREAM_ID in chat.text
    assert found(chat.text, PROVIDER_KEY) == []


def test_failover_past_a_provider_that_repeats_its_key_tells_no_key(hub, upstream, key, logs):
    with FakeProvider("custom") as other:
        upstream.always = other.always = fakes.status(500, ECHO)
        hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY, models=("shared",), priority=1)
        hub.add_provider(other, name="other", api_key=PROVIDER_KEY, models=("shared",), priority=2)

        body = {"model": "shared", "messages": [{"role": "user", "content": PROMPT}]}
        answer = hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(key))

    assert (answer.status_code, answer.text.count("[key]")) == (503, 2)
    assert_kept(hub, logs, [answer], key, may_tell=(PROMPT,))


def test_a_key_that_cannot_be_decrypted_is_not_shown(hub, upstream, key, logs):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)
    foreign = Fernet(Fernet.generate_key()).encrypt(PROVIDER_KEY.encode()).decode()
    ProviderConfig.objects.filter(name="up").update(api_key=Secret(foreign))
    hub.wait_for(lambda snapshot: snapshot.providers["up"].api_key == Secret(foreign))

    answers = chat_every_way(hub, key)

    assert {answer.status_code for answer in answers} == {503}
    assert found(logs.text + "".join(map(served, answers)), foreign) == []
    assert_kept(hub, logs, answers, key, may_tell=())


def test_a_ledger_that_is_away_makes_nobody_talk(hub, upstream, key, logs):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)

    with ledger_away():
        answers = chat_every_way(hub, key)

    assert {answer.status_code for answer in answers} == {503}
    assert_kept(hub, logs, answers, key, may_tell=())


def database_log() -> str:
    """What the tests' own PostgreSQL has logged; nothing where it is not theirs."""
    path = Path(os.environ["LLMHUB_HOME"]) / "postgres.log"
    return path.read_text() if path.exists() else ""


@contextmanager
def refusing(word: str) -> Iterator[None]:
    """Let the database refuse, and quote, every body that holds this word."""
    table = ChatContent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT no_canary CHECK (body NOT LIKE '%%{word}%%') NOT VALID")
        yield
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT no_canary")


@pytest.mark.parametrize("word", [PROMPT[:12], ANSWER[:12]], ids=["intent", "outcome"])
def test_an_entry_that_the_database_refuses_is_not_quoted(hub, upstream, key, logs, word):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)

    with refusing(word):
        answers = chat_every_way(hub, key)

    assert "IntegrityError" in logs.text or "CheckViolation" in logs.text
    assert all("record_unavailable" in answer.text for answer in answers)
    assert found(database_log(), *SECRETS) == []
    assert_kept(hub, logs, answers, key, may_tell=(ANSWER,) if word in ANSWER else ())


def test_a_failure_of_the_hub_itself_is_logged_without_what_was_asked(hub, upstream, key, logs, monkeypatch):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)
    loads = orjson.loads

    def break_down(content: Any) -> Any:
        if ANSWER.split()[0] in str(content):
            raise RuntimeError("the parser broke down")
        return loads(content)

    monkeypatch.setattr(orjson, "loads", break_down)

    answers = chat_every_way(hub, key)

    assert all("The hub failed; see its log." in answer.text for answer in answers)
    assert logs.text.count("RuntimeError: the parser broke down") >= len(WAYS)
    assert_kept(hub, logs, answers, key, may_tell=())


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_a_caller_that_goes_away_leaves_no_words_behind(hub, upstream, key, logs, path, stream):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY, timeout=30)
    upstream.always = fakes.stall_after(2)

    hub.ask_and_leave(path, asked(path, stream=stream), key, once=upstream.stalled)
    assert upstream.hung_up.wait(10)

    assert closed_chat(hub.last_chat().pk).status == "client_disconnected"
    assert_kept(hub, logs, [], key, may_tell=())


WRONG = [
    f'{{"messages": "{PROMPT}'.encode(),
    PROMPT.encode(),
    [PROMPT],
    {"model": "up/m", "messages": PROMPT},
    {"model": "up/m", "messages": [PROMPT]},
    {"provider": "up", "message": [PROMPT]},
    {"model": "up/m", "messages": [{"role": "user", "content": {"text": PROMPT}}]},
    {"model": "up/m", "messages": [{"role": "user", "content": [PROMPT]}]},
    {"model": "up/m", "messages": [{"role": "user", "content": [{"type": "text", "text": [PROMPT]}]}]},
    {"model": "up/m", "messages": [{"role": PROMPT, "content": "hi"}]},
    {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], "tools": PROMPT},
    {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], "stop": {"a": PROMPT}},
    {"model": "up/m", "messages": [{"role": "user", "content": "hi"}], "temperature": PROMPT},
    {"model": "up/m", "messages": [{"role": "user", "content": PROMPT}], "stream": PROMPT},
    {"model": "up/m", "messages": [{"role": "user", "content": PROMPT}], "api_key": PROVIDER_KEY},
    {
        "model": "up/m",
        "messages": [{"role": "user", "content": PROMPT}],
        "extra_body": {"api_base": PROMPT},
    },
]


def test_a_refusal_names_the_field_and_not_what_stood_in_it(hub, upstream, key, logs):
    hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)
    contents = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in WRONG]
    headers = hub.headers(key, content_type="application/json")

    answers = [hub.client.post(path, content=content, headers=headers) for content in contents for path in DIALECTS]

    assert {answer.status_code for answer in answers} == {400}
    assert upstream.chats == []
    assert_kept(hub, logs, answers, key, may_tell=())


@pytest.mark.parametrize("stranger", ["lh_canary-unknown-key-77", "lh_canary wrong key", "x" * 300 + "lh_canary-long"])
def test_a_key_that_is_refused_is_not_repeated(hub, logs, stranger):
    ways = [{"authorization": f"Bearer {stranger}"}, {"x-api-key": stranger}]

    answers = [
        hub.client.post(path, json=asked(path, stream=False), headers=headers) for path in DIALECTS for headers in ways
    ]
    answers += [hub.client.get("/api/providers", headers=headers) for headers in ways]

    assert {answer.status_code for answer in answers} == {401}
    assert found(logs.text + "".join(map(served, answers)), "lh_canary", PROMPT) == []


def test_of_an_api_key_the_database_has_its_hash_and_prefix_alone(hub, key):
    row = ApiKey.objects.get()

    stored = json.dumps({field.attname: str(getattr(row, field.attname)) for field in row._meta.concrete_fields})

    assert row.prefix in key
    assert len(row.prefix) <= 10
    assert key[len(row.prefix) : len(row.prefix) + 8] not in stored

"""Registering, changing, testing and watching providers, over the API and in the admin, and signing in."""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from redis import Redis

from llmhub.access.models import ApiKey, Application
from llmhub.access.secrets import cipher
from llmhub.history.describe import event_models
from providers.models import HealthCheck, ProviderConfig
from tests import fakes
from tests.admin_pages import url
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat
from tests.providers.admin.rows import LIST, do, fields_of, page_of
from tests.secrets_kept.canaries import ANSWER, ECHO, PROMPT, PROVIDER_KEY, UPSTREAM_ID, Everything, found

PASSWORD = "canary-password-4711"
REFUSING = fakes.status(401, f"Incorrect API key provided: {PROVIDER_KEY}.")


@pytest.fixture
def browser(hub: LiveHub) -> Iterator[Client]:
    user = User.objects.create_superuser("ada", password=PASSWORD)
    client = Client()
    client.force_login(user)
    yield client
    user.delete()
    Session.objects.all().delete()


@pytest.fixture
def up(hub: LiveHub, upstream: FakeProvider) -> ProviderConfig:
    """A provider that repeats its key whenever it is asked."""
    upstream.probe_faults.extend([REFUSING] * 20)
    return hub.add_provider(upstream, name="up", api_key=PROVIDER_KEY)


def calls(upstream: FakeProvider) -> list[tuple[str, str, Any]]:
    """Every call of the API that a provider's key is sent with, or sent for."""
    registration = {"name": "up", "provider_type": "custom", "base_url": upstream.url, "api_key": PROVIDER_KEY}
    return [
        ("POST", "/register", registration),
        ("POST", "/register", registration | {"base_url": f"http://{PROVIDER_KEY}@169.254.169.254/"}),
        ("POST", "/register", registration | {"api_key": [PROVIDER_KEY]}),
        ("POST", "/register", registration | {"api_key": f"{PROVIDER_KEY}\n"}),
        ("POST", "/register", registration | {"settings": {"api_key": PROVIDER_KEY}}),
        ("POST", "/register", registration | {"settings": {"extra_headers": {"authorization": PROVIDER_KEY}}}),
        ("PATCH", "/up", {"api_key": PROVIDER_KEY, "timeout": PROVIDER_KEY}),
        ("PATCH", "/up", {"api_key": PROVIDER_KEY}),
        ("GET", "", None),
        ("GET", "/up", None),
        ("POST", "/up/check", None),
        ("POST", "/up/refresh", None),
        ("GET", "/health?live=1", None),
        ("GET", "/models", None),
        ("POST", "/up/default", None),
    ]


def test_no_answer_about_a_provider_tells_its_key(hub, upstream, logs):
    upstream.probe_faults.extend([REFUSING] * 20)
    key = hub.issue_key()

    answers = [
        hub.client.request(method, f"/api/providers{path}", json=body, headers=hub.headers(key))
        for method, path, body in calls(upstream)
    ]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [201, 400, 400, 200, 400, 400, 400, 200, 200, 200, 200, 502, 200, 200, 200]
    assert "[key]" in answers[10].text
    assert "[key]" in answers[11].text
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert found(logs.text + "".join(f"{answer.headers} {answer.text}" for answer in answers), PROVIDER_KEY, key) == []


def test_what_is_kept_of_a_failing_provider_holds_no_key(hub, up, logs):
    key = hub.issue_key()

    hub.client.post("/api/providers/up/check", headers=hub.headers(key))
    up.refresh_from_db()

    assert HealthCheck.objects.get().error == up.last_error
    assert "[key]" in up.last_error
    kept = {model.__name__: stored(model) for model in (ProviderConfig, HealthCheck, ApiKey, *event_models())}
    assert {name: held for name, rows in kept.items() if (held := found(rows, PROVIDER_KEY, key))} == {}


def stored(*models: Any) -> str:
    rows = []
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute(f"SELECT stored::text FROM {model._meta.db_table} AS stored")
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows)


def test_the_provider_form_never_gives_a_key_back(hub, browser, up, upstream, logs):
    sent = fields_of(up, api_key=PROVIDER_KEY)
    wrong = sent | {"base_url": "http://169.254.169.254/", "timeout": "never"}

    answers = [
        browser.post(page_of(up), wrong),
        browser.post(f"{LIST}add/", wrong | {"name": "other"}),
        browser.post(f"{LIST}add/try/", sent | {"name": "other"}),
        browser.post(reverse("admin:providers_providerconfig_try", args=[up.pk]), fields_of(up)),
        browser.post(page_of(up), sent, follow=True),
        do(browser, "check", up, follow=""),
    ]

    pages = [answer.content.decode() for answer in answers]
    assert "[key]" in pages[2]
    assert "[key]" in pages[3]
    assert {request.headers["authorization"] for request in upstream.requests} == {f"Bearer {PROVIDER_KEY}"}
    assert found(logs.text + "".join(pages), PROVIDER_KEY) == []


def test_no_list_of_the_admin_shows_a_key_or_a_prompt(hub, browser, up, upstream, logs):
    key = hub.issue_key()
    upstream.always = fakes.status(400, ECHO, x_request_id=f"{PROVIDER_KEY}-{UPSTREAM_ID}")
    hub.client.post("/api/providers/up/check", headers=hub.headers(key))
    for body in ({"message": PROMPT, "provider": "up", "model": "m"}, {"message": PROMPT, "api_key": PROVIDER_KEY}):
        closed_chat(hub.client.post("/api/chat/multi", json=body, headers=hub.headers(key)).headers["x-request-id"])
    lists = [url(model, "changelist") for model in site._registry]

    pages = {path: browser.get(path, follow=True) for path in [*lists, "/admin/", "/admin/playground/", page_of(up)]}
    pages["history"] = browser.get(reverse("admin:providers_providerconfig_history", args=[up.pk]))

    assert {answer.status_code for answer in pages.values()} == {200}
    held = {path: found(page.content.decode(), PROVIDER_KEY, PROMPT, ANSWER, key) for path, page in pages.items()}
    assert {path: canaries for path, canaries in held.items() if canaries} == {}
    assert found(logs.text, PROVIDER_KEY, PROMPT, key) == []


def test_the_list_of_chats_over_the_api_holds_no_words_of_them(hub, up, upstream):
    key = hub.issue_key()
    for fault in (None, fakes.status(400, ECHO)):
        upstream.always = fault
        body = {"message": PROMPT, "provider": "up", "model": "m"}
        hub.client.post("/api/chat/multi", json=body, headers=hub.headers(key))

    listed = hub.client.get("/api/audit/chats", headers=hub.headers(key))

    assert len(listed.json()["results"]) == 2
    assert found(listed.text, PROVIDER_KEY, PROMPT, ANSWER, key) == []


def test_an_issued_key_waits_for_its_page_encrypted(hub, browser, logs):
    application = Application.objects.create(name="support")
    sent = {"application": application.pk, "name": "production", "scopes": ["chat"], "lifetime": "never"}

    issued = browser.post(reverse("admin:access_apikey_add"), sent)
    waiting = json.dumps([session.get_decoded() for session in Session.objects.all()])
    secret = browser.get(issued.headers["location"]).context["secret"]

    assert "issued_keys" in waiting
    kept = stored(ApiKey, Session, *event_models())
    assert [place for place in (waiting, kept, logs.text) if secret[12:] in place] == []


def test_a_wrong_sign_in_is_not_repeated(hub, browser, logs):
    visitor = Client()

    answers = [
        visitor.post(path, {"login": name, "username": name, "password": f"{PASSWORD}-wrong"})
        for path in ("/accounts/login/", "/admin/login/")
        for name in ("ada", "nobody")
    ]

    pages = "".join(answer.content.decode() for answer in answers)
    assert found(logs.text + pages + stored(Session), PASSWORD) == []


def test_the_playground_keeps_no_prompt(hub, browser, up, upstream, logs):
    token = "c" * 32
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    cookies = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={token}"
    headers = {"cookie": cookies, "x-csrftoken": token}

    for stream in (False, True):
        body = {"message": PROMPT, "provider": "up", "model": "m", "stream": stream}
        assert ANSWER.split()[0] in hub.client.post("/api/chat/multi", json=body, headers=headers).text
    sessions = json.dumps([row.get_decoded() for row in Session.objects.all()])

    assert found(logs.text + sessions + browser.get("/admin/playground/").content.decode(), *(PROMPT, ANSWER)) == []
    assert session not in logs.text


def test_messages_to_the_worker_name_rows_by_id_alone(hub, upstream):
    key = hub.issue_key()

    answer = hub.client.post("/api/providers/register", json=calls(upstream)[0][2], headers=hub.headers(key))
    with Redis.from_url(settings.REDIS_URL) as redis:
        messages = [json.loads(message) for message in redis.lrange("celery", 0, -1)]

    assert answer.status_code == 201
    arguments = {message["headers"]["kwargsrepr"] for message in messages}
    assert f"{{'provider_id': {ProviderConfig.objects.get(name='up').pk}}}" in arguments
    assert (
        found(str(messages) + "".join(str(b64decode(message["body"])) for message in messages), PROVIDER_KEY, key) == []
    )


def test_the_database_has_a_key_encrypted_and_shows_none_of_a_running_query(hub, up):
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM providers_providerconfig WHERE name = 'up'")
        token = cursor.fetchone()[0]
        cursor.execute("SELECT string_agg(query, ' ') FROM pg_stat_activity")
        queries = cursor.fetchone()[0]

    assert PROVIDER_KEY not in token
    assert cipher().decrypt(token.encode()).decode().endswith(f"\n{PROVIDER_KEY}")
    assert found(queries, PROVIDER_KEY, PASSWORD) == []


def test_the_logs_are_searched_as_they_are_written(logs: Everything):
    try:
        raise ValueError(PROMPT)
    except ValueError:
        logging.getLogger("chat.anything").debug("said %s", PROVIDER_KEY, exc_info=True)

    assert found(logs.text, PROMPT, PROVIDER_KEY) == [PROMPT, PROVIDER_KEY]

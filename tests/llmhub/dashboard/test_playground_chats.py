"""Where the playground's chats go: as the signed-in user, or with no more than an application's key allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey
from llmhub.access.principals import Scope
from providers.models import Health, ProviderConfig
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat

TOKEN = "c" * 32


@pytest.fixture
def browser(hub: LiveHub) -> Iterator[Client]:
    user = User.objects.create_superuser("ada")
    client = Client()
    client.force_login(user)
    yield client
    user.delete()


def ask(hub: LiveHub, browser: Client, *, as_key: object = None, **body: object) -> httpx.Response:
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    cookies = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={TOKEN}"
    headers = {"cookie": cookies, "x-csrftoken": TOKEN}
    if as_key is not None:
        headers["x-llmhub-as-key"] = str(as_key)
    return hub.client.post("/api/chat/multi", json={"message": "Hi", **body}, headers=headers)


def key_id(hub: LiveHub, **fields: Any) -> int:
    hub.issue_key(application="support-bot", **fields)
    return ApiKey.objects.latest("pk").pk


def plan(browser: Client, **query: object) -> Any:
    answer = browser.get("/admin/playground/plan/", query)
    assert answer.status_code == 200
    return answer.json()


def names(found: Any) -> list[str]:
    return [f"{each['provider']}/{each['model']}" for each in found["candidates"]]


@pytest.fixture
def two_providers(hub: LiveHub, upstream: FakeProvider) -> None:
    """Beside `ollama`, the default, which refuses every connection."""
    hub.add_provider(upstream, name="first", default_model="fake-large", models=("fake-large",), priority=1)
    hub.add_provider(upstream, name="second", default_model="fake-small", models=("fake-small",), priority=2)


def test_a_user_is_shown_every_candidate_in_the_order_of_asking(hub, two_providers, browser):
    ProviderConfig.objects.filter(name="ollama").update(health=Health.UNHEALTHY)
    hub.wait_for(lambda snapshot: snapshot.providers["ollama"].is_unhealthy)

    found = plan(browser)

    assert names(found) == ["first/fake-large", "second/fake-small", "ollama/llama3.2"]
    assert [each["health"] for each in found["candidates"]] == ["not checked", "not checked", "unhealthy"]
    assert (found["left_out"], found["problem"]) == ([], None)


def test_as_an_application_only_what_its_key_allows_is_left_and_the_rest_has_its_reason(hub, two_providers, browser):
    ProviderConfig.objects.filter(name="first").update(enabled=False)
    hub.wait_for(lambda snapshot: not snapshot.providers["first"].enabled)
    key = key_id(hub, allowed_providers=["first", "second"])

    found = plan(browser, as_key=key)

    assert names(found) == ["second/fake-small"]
    assert found["left_out"] == ["ollama is not allowed to this API key", "first is disabled"]


def test_a_plan_that_fails_says_why(hub, two_providers, browser):
    silent = key_id(hub, scopes=(Scope.AUDIT_READ,))
    narrow = key_id(hub, allowed_models=["second/fake-small"])

    problems = [
        plan(browser, model="nope")["problem"],
        plan(browser, provider="nope")["problem"],
        plan(browser, as_key=silent)["problem"],
        plan(browser, as_key=narrow, provider="first")["problem"],
        plan(browser, as_key="nope")["problem"],
    ]

    assert problems == [
        "The model `nope` is served by no provider here.",
        "There is no provider named `nope`.",
        "This needs the scope chat.",
        "This API key does not allow this provider or model.",
        "There is no such API key in force, or you may not see it.",
    ]


def test_a_chat_goes_where_the_plan_says_and_is_recorded_under_the_users_name(hub, two_providers, browser):
    key = key_id(hub, allowed_providers=["second"])

    answer = ask(hub, browser, as_key=key)

    chat = closed_chat(answer.headers["x-request-id"])
    assert [(a["provider"], a["ok"]) for a in answer.json()["attempts"]] == [("second", True)]
    assert [answer.json()["provider"]] == [each["provider"] for each in plan(browser, as_key=key)["candidates"]]
    assert (chat.actor, chat.application, chat.api_key, chat.status) == ("ada", "", "", ChatStatus.SUCCEEDED)


def test_what_the_key_does_not_allow_is_refused_as_to_the_application(hub, two_providers, browser, upstream):
    key = key_id(hub, allowed_models=["fake-small"])

    refused = ask(hub, browser, as_key=key, provider="first")
    allowed = ask(hub, browser, provider="first")

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert closed_chat(refused.headers["x-request-id"]).status == ChatStatus.REJECTED
    assert allowed.status_code == 200
    assert len(upstream.chats) == 1


def test_a_key_that_is_none_is_the_callers_error_and_recorded_as_theirs(hub, two_providers, browser, upstream):
    answer = ask(hub, browser, as_key="lh_nothing")

    chat = closed_chat(answer.headers["x-request-id"])
    assert answer.status_code == 400
    assert answer.json()["error"] | {"message": ""} == {
        "type": "invalid_request_error",
        "message": "",
        "code": "unknown_key",
        "param": "x-llmhub-as-key",
    }
    assert (chat.actor, chat.status) == ("ada", ChatStatus.REJECTED)
    assert not upstream.chats


def test_the_header_means_nothing_from_a_caller_with_a_key(hub, two_providers):
    narrow = key_id(hub, allowed_providers=["second"])
    headers = hub.headers(hub.issue_key(), x_llmhub_as_key=str(narrow))

    answer = hub.client.post("/api/chat/multi", json={"message": "Hi", "provider": "first"}, headers=headers)

    assert (answer.status_code, answer.json()["provider"]) == (200, "first")

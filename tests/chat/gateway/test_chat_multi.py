from __future__ import annotations

import json

import httpx
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from chat.ledger.models import ChatStatus
from providers.models import Health, ProviderConfig
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, get_chat


@pytest.fixture
def key(hub: LiveHub) -> str:
    return hub.issue_key()


def ask(hub: LiveHub, key: str, **body: object) -> httpx.Response:
    return hub.client.post("/api/chat/multi", json=body, headers=hub.headers(key))


def test_a_message_is_answered_in_the_hubs_own_shape(hub, upstream, key):
    hub.add_provider(upstream, name="up", default_model="fake-large")

    answer = ask(hub, key, message="Who is there?", provider="up")

    body = answer.json()
    assert body.pop("latency_ms") >= 0
    assert (
        body.pop("attempts")[0].items() >= {"provider": "up", "model": "fake-large", "ok": True, "error": None}.items()
    )
    assert body == {
        "id": answer.headers["x-request-id"],
        "content": "Hello from the fake.",
        "model": "fake-large",
        "provider": "up",
        "tokens_used": 14,
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
            "source": "provider",
        },
        "finish_reason": "stop",
        "cost_usd": None,
    }


def test_a_conversation_and_sampling_parameters_are_passed_on(hub, upstream, key):
    hub.add_provider(upstream, name="up", default_model="fake-large")
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]

    ask(hub, key, messages=turns, provider="up", model="fake-small", temperature=0.2, max_tokens=9)

    sent = upstream.chats[0].json
    assert sent["messages"] == turns
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("fake-small", 0.2, 9)


def test_without_a_name_the_default_is_tried_first_and_the_next_answers_when_it_fails(hub, upstream, key):
    hub.add_provider(upstream, name="local", default_model="fake-large")

    answer = ask(hub, key, message="Hello?")

    attempts = answer.json()["attempts"]
    assert [(a["provider"], a["ok"]) for a in attempts] == [("ollama", False), ("local", True)]
    assert "refused" in attempts[0]["error"]
    recorded = get_chat(answer.json()["id"]).attempts
    assert [(a["provider"], a["ok"]) for a in recorded] == [("ollama", False), ("local", True)]


def test_a_default_that_is_known_to_be_unhealthy_is_asked_last(hub, upstream, key):
    hub.add_provider(upstream, name="local", default_model="fake-large")
    ProviderConfig.objects.filter(name="ollama").update(health=Health.UNHEALTHY)
    hub.wait_for(lambda s: s.providers["ollama"].is_unhealthy)

    answer = ask(hub, key, message="Hello?")

    assert [attempt["provider"] for attempt in answer.json()["attempts"]] == ["local"]


def test_a_stream_is_pieces_and_then_the_whole_answer(hub, upstream, key):
    hub.add_provider(upstream, name="up", default_model="fake-large")

    answer = ask(hub, key, message="Hello?", provider="up", stream=True)

    events = [frame.split("\n") for frame in answer.text.strip().split("\n\n")]
    assert {lines[0] for lines in events[:-1]} == {"event: chunk"}
    pieces = [json.loads(lines[1].removeprefix("data: "))["content"] for lines in events[:-1]]
    assert "".join(pieces) == "Hello from the fake."
    assert events[-1][0] == "event: done"
    assert json.loads(events[-1][1].removeprefix("data: "))["content"] == "Hello from the fake."


def test_a_stream_that_breaks_ends_with_an_error_event(hub, upstream, key):
    hub.add_provider(upstream, name="up", default_model="fake-large")
    upstream.fail(fakes.end_after(3))

    answer = ask(hub, key, message="Hello?", provider="up", stream=True)

    last = answer.text.strip().split("\n\n")[-1]
    assert last.startswith("event: error\n")
    assert get_chat(answer.headers["x-request-id"]).status == ChatStatus.TRUNCATED


def test_when_all_fail_every_attempt_is_named(hub, key):
    hub.add_provider(name="down", base_url="http://127.0.0.1:9/v1", default_model="m")

    answer = ask(hub, key, message="Hello?")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "no_provider")
    assert "ollama: " in error["message"]
    assert "down: " in error["message"]
    assert answer.headers["x-llmhub-attempts"] == "2"


@pytest.mark.parametrize("provider_type", ["ollama", "openai", "anthropic", "google", "mistral", "custom"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_provider_type_answers_through_the_hub(hub, key, provider_type, stream):
    with FakeProvider(provider_type, api_key="sk-upstream-0123456789") as fake:
        hub.add_provider(
            fake, name="one", provider_type=provider_type, base_url=fake.url, api_key=fake.api_key, default_model="m"
        )

        answer = ask(hub, key, message="Hello?", provider="one", stream=stream)

    text = answer.text.strip().split("data: ")[-1] if stream else answer.text
    assert json.loads(text)["content"] == "Hello from the fake."
    assert get_chat(answer.headers["x-request-id"]).completion_tokens == 5


@pytest.fixture
def signed_in(hub: LiveHub) -> Client:
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="use_chat"))
    client = Client()
    client.force_login(user)
    yield client
    user.delete()


def cookies(client: Client) -> dict[str, str]:
    return {name: morsel.value for name, morsel in client.cookies.items()}


def test_a_signed_in_user_chats_with_the_csrf_token_and_under_their_name(hub, upstream, signed_in):
    hub.add_provider(upstream, name="up", default_model="fake-large")
    jar = {**cookies(signed_in), "csrftoken": "a" * 32}
    headers = {"x-csrftoken": "a" * 32, "origin": hub.url}

    answer = httpx.post(
        f"{hub.url}/api/chat/multi", json={"message": "Hi", "provider": "up"}, cookies=jar, headers=headers
    )

    assert answer.status_code == 200, answer.text
    assert get_chat(answer.json()["id"]).actor == "anna"


def test_a_signed_in_user_without_the_csrf_token_is_refused(hub, signed_in):
    answer = httpx.post(f"{hub.url}/api/chat/multi", json={"message": "Hi"}, cookies=cookies(signed_in))

    assert answer.status_code == 401
    assert "CSRF" in answer.json()["error"]["message"]

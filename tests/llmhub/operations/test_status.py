from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from rest_framework.test import APIClient

from llmhub.access.principals import Scope
from llmhub.access.secrets import Secret
from llmhub.operations.models import Heartbeat, Service
from providers.manager import get_provider_manager
from providers.models import Health, ProviderConfig
from tests.clients import client_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def everything_up() -> None:
    Heartbeat.objects.beat(Service.WORKER, now=timezone.now())
    Heartbeat.objects.beat(Service.BEAT, now=timezone.now())
    ProviderConfig.objects.update(health=Health.HEALTHY)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def ask() -> dict[str, Any]:
    body: dict[str, Any] = client_with(Scope.PROVIDERS_READ).get("/api/status").json()
    return body


def codes(body: dict[str, Any]) -> list[str]:
    return [action["code"] for action in body["pending_actions"]]


def test_all_is_well(everything_up):
    assert ask() == {
        "status": "ok",
        "version": django_settings.VERSION,
        "default_provider": "ollama",
        "ollama": {"connected": True},
        "database": True,
        "redis": True,
        "celery": {"worker": True, "beat": True},
        "pending_actions": [],
    }


def test_background_processes_that_never_showed_up_are_told():
    body = ask()

    assert (body["status"], body["celery"]) == ("degraded", {"worker": False, "beat": False})
    assert {"worker_silent", "beat_silent"} <= set(codes(body))


@pytest.mark.parametrize(
    ("part", "age", "is_alive"),
    [
        (Service.WORKER, timedelta(minutes=2, seconds=55), True),
        (Service.WORKER, timedelta(minutes=3, seconds=1), False),
        (Service.BEAT, timedelta(seconds=55), True),
        (Service.BEAT, timedelta(seconds=61), False),
    ],
)
def test_a_process_is_alive_until_it_has_been_silent_too_long(everything_up, part, age, is_alive):
    Heartbeat.objects.beat(part, now=timezone.now() - age)

    body = ask()

    assert body["celery"][part] is is_alive
    assert (body["status"] == "ok") is is_alive


def test_redis_that_refuses_is_told(everything_up, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"

    body = ask()

    assert (body["status"], body["redis"], body["database"]) == ("degraded", False, True)
    assert codes(body) == ["redis_down"]


def test_redis_that_never_answers_holds_nobody_up(everything_up, settings, silent_server):
    settings.REDIS_URL = f"redis://127.0.0.1:{silent_server}/0"
    began_s = time.monotonic()

    body = ask()

    assert body["redis"] is False
    assert time.monotonic() - began_s < 5


def test_a_default_that_fails_is_told_while_another_can_answer(everything_up):
    ProviderConfig.objects.update(health=Health.UNHEALTHY, last_error="refused")
    get_provider_manager().register_provider(
        "vllm", provider_type="custom", base_url="http://localhost:8000/v1", default_model="qwen"
    )

    body = ask()

    assert (body["status"], body["ollama"], codes(body)) == ("ok", {"connected": False}, ["default_unhealthy"])
    assert "refused" in body["pending_actions"][0]["message"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"health": Health.UNHEALTHY}, ["no_chat_possible", "default_unhealthy"], id="unhealthy"),
        pytest.param({"enabled": False}, ["no_chat_possible", "default_disabled"], id="disabled"),
        pytest.param({"default_model": ""}, ["no_chat_possible"], id="no-model"),
        pytest.param({"is_default": False}, ["no_default"], id="no-default"),
        pytest.param({"api_key": Secret("not a token")}, ["key_unreadable"], id="key-unreadable"),
        pytest.param(
            {"api_key": Secret.seal("sk", place="openai https://a.example")}, ["key_misplaced"], id="key-misplaced"
        ),
    ],
)
def test_what_an_admin_should_see_to_is_listed(everything_up, change, expected):
    ProviderConfig.objects.update(**change)

    body = ask()

    assert codes(body) == expected
    assert (body["status"] == "degraded") is ("no_chat_possible" in expected)


def test_without_providers_no_chat_is_possible(everything_up):
    ProviderConfig.objects.all().delete()

    body = ask()

    assert (body["default_provider"], codes(body)) == (None, ["no_chat_possible", "no_default"])


def test_the_scope_is_needed(db):
    assert APIClient().get("/api/status").status_code == 401
    assert client_with(Scope.CHAT, Scope.PROVIDERS_WRITE, Scope.AUDIT_READ).get("/api/status").status_code == 403

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from llmhub.access.principals import Scope
from providers.models import Health, ProviderConfig
from tests.clients import client_with

VALID = {"name": "vllm", "provider_type": "custom", "base_url": "http://localhost:8000/v1"}
KEY = "sk-canary-4711-canary-abcd"


def register(client: APIClient, **values: Any) -> Any:
    return client.post("/api/providers/register", VALID | values, format="json")


def test_a_new_provider_is_registered(client):
    answer = register(client, api_key=KEY, priority=7, settings={"strict_models": True})

    row = ProviderConfig.objects.get(name="vllm")
    assert (answer.status_code, answer.json()) == (201, {"status": "registered", "provider": "vllm"})
    assert (row.priority, row.settings, row.api_key.reveal(place=row.key_place)) == (7, {"strict_models": True}, KEY)


def test_registering_again_changes_only_what_is_sent(client):
    register(client, api_key=KEY, priority=7, rate_limit=20)
    ProviderConfig.objects.filter(name="vllm").update(health=Health.HEALTHY)

    answer = register(client, default_model="qwen", rate_limit=None)

    row = ProviderConfig.objects.get(name="vllm")
    assert (answer.status_code, answer.json()) == (200, {"status": "registered", "provider": "vllm"})
    assert (row.default_model, row.rate_limit) == ("qwen", None)
    assert (row.priority, row.api_key.reveal(place=row.key_place), row.health) == (7, KEY, Health.HEALTHY)


def test_the_first_provider_becomes_the_default(client):
    ProviderConfig.objects.all().delete()

    register(client)

    assert ProviderConfig.objects.get(name="vllm").is_default


def test_another_provider_leaves_the_default_alone(client):
    register(client)

    assert ProviderConfig.objects.get(is_default=True).name == "ollama"


@pytest.mark.parametrize(
    ("values", "param", "words"),
    [
        pytest.param({"colour": "red"}, "colour", "Unknown field", id="unknown-field"),
        pytest.param({"name": None}, "name", "null", id="null-name"),
        pytest.param({"name": "No Spaces"}, "name", "lower-case letters", id="bad-name"),
        pytest.param({"name": "health"}, "name", "reserved by the API", id="reserved-name"),
        pytest.param({"name": "models"}, "name", "reserved by the API", id="another-reserved-name"),
        pytest.param({"name": "register"}, "name", "reserved by the API", id="a-third-reserved-name"),
        pytest.param({"provider_type": "skynet"}, "provider_type", "skynet", id="unknown-type"),
        pytest.param({"provider_type": None}, "provider_type", "null", id="null-type"),
        pytest.param({"provider_type": "openai"}, "api_key", "needs an API key", id="missing-key"),
        pytest.param({"base_url": ""}, "base_url", "needs a base URL", id="missing-url"),
        pytest.param({"base_url": "ftp://example.com"}, "base_url", "http", id="bad-url"),
        pytest.param({"base_url": "http://10.0.0.7/v1"}, "base_url", "private", id="private-address"),
        pytest.param({"base_url": "http://169.254.169.254/"}, "base_url", "metadata", id="metadata-address"),
        pytest.param({"base_url": 5}, "base_url", "http", id="number-for-url"),
        pytest.param({"settings": {"warp": 9}}, "settings", "unknown key `warp`", id="unknown-setting"),
        pytest.param({"settings": {"strict_models": "perhaps"}}, "settings", "strict_models", id="bad-setting"),
        pytest.param({"settings": ["a"]}, "settings", "dictionary", id="list-for-settings"),
        pytest.param({"enabled": "perhaps"}, "enabled", "boolean", id="bad-boolean"),
        pytest.param({"priority": -1}, "priority", "0", id="negative-priority"),
        pytest.param({"priority": 2**40}, "priority", "2147483647", id="huge-priority"),
        pytest.param({"rate_limit": 0}, "rate_limit", "1", id="no-requests"),
        pytest.param({"timeout": 3601}, "timeout", "3600", id="long-timeout"),
        pytest.param({"timeout": 1.5}, "timeout", "integer", id="fractional-timeout"),
        pytest.param({"api_key": "two\nlines-of-key"}, "api_key", "line break", id="line-break-in-key"),
        pytest.param({"api_key": {"a": 1}}, "api_key", "string", id="object-for-key"),
        pytest.param({"default_model": "a\x00b"}, "default_model", "Null", id="nul"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(client, values, param, words):
    answer = register(client, **values)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert words in error["message"]
    assert error["message"].startswith(f"{param}: ")
    assert not ProviderConfig.objects.filter(name="vllm").exists()


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        pytest.param("[1, 2]", "application/json", 400, id="list"),
        pytest.param("{", "application/json", 400, id="broken-json"),
        pytest.param('{"priority": NaN}', "application/json", 400, id="not-a-number"),
        pytest.param("name=vllm", "application/x-www-form-urlencoded", 415, id="form"),
        pytest.param("", "application/json", 400, id="empty"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client, content, content_type, status):
    answer = client.generic("POST", "/api/providers/register", content, content_type)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")


def test_a_refused_key_is_not_repeated(client):
    answer = register(client, api_key=f"{KEY}\n", colour=KEY)

    assert answer.status_code == 400
    assert KEY not in answer.content.decode()


def test_a_key_that_may_only_read_registers_nothing(db):
    answer = register(client_with(Scope.PROVIDERS_READ, Scope.CHAT, Scope.AUDIT_READ))

    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert not ProviderConfig.objects.filter(name="vllm").exists()


@pytest.mark.django_db(transaction=True)
def test_registering_one_name_many_times_at_once_adds_one():
    ProviderConfig.objects.all().delete()
    client = client_with(Scope.PROVIDERS_WRITE)

    def once(priority: int) -> int:
        try:
            return int(register(client, priority=priority).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        statuses = sorted(pool.map(once, range(8)))

    assert statuses == [200] * 7 + [201]
    assert ProviderConfig.objects.get().is_default

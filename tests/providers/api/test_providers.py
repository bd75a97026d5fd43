from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from llmhub.access.principals import Scope
from llmhub.access.secrets import Secret
from providers import manager
from providers.manager import get_provider_manager
from providers.models import Health, ProviderConfig
from providers.types import ModelInfo
from tests import fakes
from tests.clients import client_with
from tests.fakes import FakeProvider

KEY = "sk-canary-4711-canary-abcd"
DEAD_URL = "http://127.0.0.1:9/v1"


def add(name: str, base_url: str = DEAD_URL, **values: object) -> ProviderConfig:
    values = {"provider_type": "custom", "base_url": base_url} | values
    return get_provider_manager().register_provider(name, **values)[0]


def test_the_list_names_the_default_and_every_provider(client):
    add("vllm", api_key=KEY, default_model="qwen", priority=3)

    answer = client.get("/api/providers")

    assert answer.json() == {
        "default_provider": "ollama",
        "providers": {
            "ollama": {
                "type": "ollama",
                "enabled": True,
                "default_model": "llama3.2",
                "base_url": "http://localhost:11434",
                "health": "unknown",
                "last_checked_at": None,
                "priority": 100,
            },
            "vllm": {
                "type": "custom",
                "enabled": True,
                "default_model": "qwen",
                "base_url": DEAD_URL,
                "health": "unknown",
                "last_checked_at": None,
                "priority": 3,
            },
        },
    }


def test_without_providers_there_is_no_default(client):
    ProviderConfig.objects.all().delete()

    assert client.get("/api/providers").json() == {"default_provider": None, "providers": {}}


def test_one_provider_is_shown_with_its_key_masked(client):
    row = add("vllm", api_key=KEY, settings={"strict_models": True})
    row.record_models([ModelInfo(name="qwen"), ModelInfo(name="glm")], now=timezone.now())

    answer = client.get("/api/providers/vllm")

    shown = answer.json()
    assert (shown["name"], shown["type"], shown["is_default"]) == ("vllm", "custom", False)
    assert (shown["api_key"], shown["api_key_set"], shown["models"]) == ("…abcd", True, ["glm", "qwen"])
    assert (shown["settings"], shown["timeout"], shown["rate_limit"]) == ({"strict_models": True}, 60, None)
    assert KEY not in answer.content.decode()
    assert row.api_key.token not in answer.content.decode()


def test_a_provider_without_a_key_says_so(client):
    shown = client.get("/api/providers/ollama").json()

    assert (shown["api_key"], shown["api_key_set"]) == (None, False)


def test_a_key_that_cannot_be_decrypted_is_shown_as_such(client):
    add("vllm")
    ProviderConfig.objects.filter(name="vllm").update(api_key=Secret("not a token"))

    shown = client.get("/api/providers/vllm").json()

    assert (shown["api_key"], shown["api_key_set"]) == ("cannot be decrypted", True)


def test_a_change_keeps_what_is_not_sent(client):
    add("vllm", api_key=KEY, priority=3)

    answer = client.patch("/api/providers/vllm", {"enabled": False, "rate_limit": 9}, format="json")

    row = ProviderConfig.objects.get(name="vllm")
    assert (answer.status_code, answer.json()["enabled"], answer.json()["rate_limit"]) == (200, False, 9)
    assert (row.enabled, row.priority, row.api_key.reveal(place=row.key_place)) == (False, 3, KEY)


def test_an_empty_key_takes_the_key_away(client):
    add("vllm", api_key=KEY)

    client.patch("/api/providers/vllm", {"api_key": ""}, format="json")

    assert client.get("/api/providers/vllm").json()["api_key_set"] is False


@pytest.mark.parametrize("sent", [{"name": "other"}, {"is_default": True}, {"health": "healthy"}, {"base_url": "x"}])
def test_what_cannot_be_changed_so_is_refused(client, sent):
    add("vllm")

    answer = client.patch("/api/providers/vllm", sent, format="json")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(sent)))


def test_a_removed_default_hands_over_to_the_next_enabled_by_priority(client):
    add("off", priority=1, enabled=False)
    add("second", priority=2)
    add("third", priority=3)

    answer = client.delete("/api/providers/ollama")

    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/api/providers").json()["default_provider"] == "second"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM providers_providerconfig WHERE name = 'ollama'",
        "DELETE FROM providers_providerconfig WHERE name IN ('ollama', 'second')",
    ],
)
def test_a_default_deleted_by_raw_sql_hands_over_too(client, statement):
    add("second", priority=2)
    add("third", priority=3)

    with connection.cursor() as cursor:
        cursor.execute(statement)

    left = list(ProviderConfig.objects.order_by("priority").values_list("name", "is_default"))
    assert left[0][1] is True
    assert sum(is_default for _, is_default in left) == 1


def test_a_provider_is_made_the_default(client):
    add("vllm")

    answer = client.post("/api/providers/vllm/default")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "default_provider": "vllm"})
    assert ProviderConfig.objects.get(is_default=True).name == "vllm"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("post", "/default"),
        ("post", "/check"),
        ("post", "/refresh"),
    ],
)
def test_an_unknown_provider_is_not_found(client, method, path):
    answer = getattr(client, method)(f"/api/providers/nobody{path}")

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (404, "not_found_error", "provider_not_found")
    assert "`nobody`" in error["message"]


def test_a_check_probes_now_and_is_kept(client, upstream):
    add("vllm", upstream.url)

    found = client.post("/api/providers/vllm/check").json()

    assert (found["name"], found["ok"], found["error"]) == ("vllm", True, None)
    assert found["latency_ms"] >= 0
    assert client.get("/api/providers/vllm").json()["health"] == "healthy"


def test_a_check_tells_what_is_wrong(client, upstream):
    upstream.api_key = "another"
    add("vllm", upstream.url, api_key=KEY)

    found = client.post("/api/providers/vllm/check").json()

    assert found["ok"] is False
    assert found["error"]
    assert KEY not in found["error"]
    assert client.get("/api/providers/vllm").json()["last_error"] == found["error"]


def test_a_check_of_a_key_that_cannot_be_decrypted_says_so(client, upstream):
    add("vllm", upstream.url)
    ProviderConfig.objects.filter(name="vllm").update(api_key=Secret("not a token"))

    found = client.post("/api/providers/vllm/check").json()

    assert (found["ok"], upstream.requests) == (False, [])
    assert "cannot be decrypted" in found["error"]


def test_a_refresh_brings_the_models_now(client):
    with FakeProvider("custom", model_names=("qwen", "glm")) as upstream:
        add("vllm", upstream.url)

        answer = client.post("/api/providers/vllm/refresh")

    assert (answer.status_code, answer.json()) == (200, {"name": "vllm", "models": ["glm", "qwen"]})
    assert client.get("/api/providers/models").json() == {"ollama": [], "vllm": ["glm", "qwen"]}


def test_a_refresh_that_fails_keeps_the_models_it_had(client, upstream):
    add("vllm", upstream.url).record_models([ModelInfo(name="qwen")], now=timezone.now())
    upstream.probe_faults.append(fakes.status(500))

    answer = client.post("/api/providers/vllm/refresh")

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")
    assert client.get("/api/providers/models").json()["vllm"] == ["qwen"]


def test_health_is_told_from_the_database(client):
    for health in Health:
        add(f"is-{health}")
        ProviderConfig.objects.filter(name=f"is-{health}").update(health=health)

    found = client.get("/api/providers/health").json()

    assert found == {
        "ollama": False,
        "is-unknown": False,
        "is-healthy": True,
        "is-degraded": False,
        "is-unhealthy": False,
    }


def test_live_health_probes_every_enabled_provider(client, upstream):
    ProviderConfig.objects.all().delete()
    add("up", upstream.url)
    add("down", DEAD_URL)
    add("off", upstream.url, enabled=False)

    found = client.get("/api/providers/health?live=1").json()

    assert found == {"up": True, "down": False, "off": False}
    assert len(upstream.requests) == 1


def test_a_signed_in_user_needs_the_permission_and_the_csrf_token(db):
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_providerconfig"))
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)

    assert client.get("/api/providers").status_code == 200
    assert client.post("/api/providers/ollama/default").status_code == 403


def test_a_user_who_is_no_staff_sees_nothing(db):
    client = APIClient()
    client.force_login(User.objects.create_user("bob"))

    assert client.get("/api/providers").status_code == 403


ENDPOINTS = [
    ("get", "", Scope.PROVIDERS_READ),
    ("get", "/health", Scope.PROVIDERS_READ),
    ("get", "/models", Scope.PROVIDERS_READ),
    ("get", "/ollama", Scope.PROVIDERS_READ),
    ("post", "/register", Scope.PROVIDERS_WRITE),
    ("patch", "/ollama", Scope.PROVIDERS_WRITE),
    ("delete", "/ollama", Scope.PROVIDERS_WRITE),
    ("post", "/ollama/default", Scope.PROVIDERS_WRITE),
    ("post", "/ollama/check", Scope.PROVIDERS_WRITE),
    ("post", "/ollama/refresh", Scope.PROVIDERS_WRITE),
]


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_every_endpoint_needs_its_scope(db, method, path, scope):
    others = [other for other in Scope if other != scope]

    nobody = getattr(APIClient(), method)(f"/api/providers{path}")
    wrong = getattr(client_with(*others), method)(f"/api/providers{path}")

    assert (nobody.status_code, nobody.json()["error"]["type"]) == (401, "authentication_error")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (403, "permission_error")
    assert scope in wrong.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_no_endpoint_redirects_to_or_from_a_trailing_slash(db, method, path, scope):
    answer = getattr(client_with(scope), method)(f"/api/providers{path}/")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path"), [("post", "ollama/check"), ("post", "ollama/refresh"), ("get", "health?live=1")]
)
def test_only_so_many_callers_wait_for_providers(client, monkeypatch, method, path):
    monkeypatch.setattr(manager, "_runs", threading.BoundedSemaphore(0))

    refused = getattr(client, method)(f"/api/providers/{path}")

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["message"] == "Too many callers wait for providers: try again soon."

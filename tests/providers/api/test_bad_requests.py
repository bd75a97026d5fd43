from __future__ import annotations

import pytest

from llmhub.access.principals import Scope
from tests.clients import client_with

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["%00", "%00/check", "a%20b", "%2e%2e%2f", "a/b/c/d"])
def test_what_no_provider_is_named_is_not_found(path):
    answer = client_with(*Scope).get(f"/api/providers/{path}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["get", "put", "delete", "options"])
def test_a_method_that_an_endpoint_does_not_take_is_told_so(method):
    answer = getattr(client_with(*Scope), method)("/api/providers/register")

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_head_is_as_get():
    assert client_with(Scope.PROVIDERS_READ).head("/api/providers").status_code == 200
    assert client_with(Scope.CHAT).head("/api/providers").status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"name": "\xff"}', id="not-utf-8"),
        pytest.param(b'{"name": "\\ud800"}', id="lone-surrogate"),
        pytest.param(b'{"priority": NaN}', id="nan"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'{"name": "a\\u0000b", "provider_type": "ollama"}', id="nul"),
        pytest.param(b'{"name": "a", "provider_type": "ollama", "priority": 1e400}', id="huge"),
    ],
)
def test_a_body_that_is_no_registration_is_refused(body):
    answer = client_with(*Scope).generic("POST", "/api/providers/register", body, content_type="application/json")

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")

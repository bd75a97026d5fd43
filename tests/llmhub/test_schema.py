"""The API's description, and its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from llmhub.gateway_urls import urlpatterns

PROBES = {"healthz", "readyz", "metrics"}
ORIGIN = re.compile(r"https?://[^/\"' ]+")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("schema") / "schema.yml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(file))
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, found) for path, methods in schema["paths"].items() for method, found in methods.items()]


def test_the_owners_endpoints_are_described(schema):
    described = {(method, path) for path, method, _ in operations(schema)}

    assert described >= {
        ("post", "/api/providers/register"),
        ("get", "/api/providers"),
        ("get", "/api/providers/{name}"),
        ("patch", "/api/providers/{name}"),
        ("delete", "/api/providers/{name}"),
        ("post", "/api/providers/{name}/default"),
        ("post", "/api/providers/{name}/check"),
        ("post", "/api/providers/{name}/refresh"),
        ("get", "/api/providers/health"),
        ("get", "/api/providers/models"),
        ("get", "/api/status"),
        ("get", "/api/audit/chats"),
        ("get", "/api/audit/chats/{chat_id}"),
    }


def test_every_chat_endpoint_is_described(schema):
    routes = {"/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(route.pattern)) for route in urlpatterns}

    assert {route for route in routes if route.strip("/") not in PROBES} <= set(schema["paths"])


def test_every_operation_says_how_it_refuses(schema):
    for path, method, operation in operations(schema):
        refusals = {code for code in operation["responses"] if code >= "400"}
        assert {"401", "403"} <= refusals, (method, path)
        for code in refusals:
            content = operation["responses"][code]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Error"}, (method, path)


def test_every_operation_has_a_name_and_a_summary_of_its_own(schema):
    names = [operation["operationId"] for _, _, operation in operations(schema)]

    assert len(names) == len(set(names))
    assert all(operation["summary"] for _, _, operation in operations(schema))


@pytest.mark.django_db
def test_the_page_needs_nothing_from_elsewhere():
    client = Client()

    page, script, schema = (client.get(path) for path in ("/api/docs", "/api/docs?script", "/api/schema"))

    assert [page.status_code, script.status_code, schema.status_code] == [200, 200, 200]
    assert ORIGIN.findall(page.content.decode()) == []
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert sources
    assert all(source.startswith("/") for source in sources)

"""The API does what its own description says, whatever is sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from django.conf import settings as project
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from providers.manager import get_provider_manager
from tests.fakes import FakeProvider
from tests.live import LiveHub

pytestmark = pytest.mark.server

CLOSED_PORT = "http://127.0.0.1:9/v1"
DESCRIBED: dict[str, Any] = json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))

NOT_PROMISED = [
    positive_data_acceptance,  # some rules join fields: a description cannot say `message` or `messages`
    negative_data_rejection,  # "1" is taken for 1, and more such
    ignored_auth,  # repeats a request with the headers given here; the second test below is in its place
]

api = schemathesis.openapi.from_dict(DESCRIBED)
fuzzed = settings(
    max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def running(running_hub: LiveHub) -> Iterator[LiveHub]:
    running_hub.reset()
    with FakeProvider("custom") as fake:
        running_hub.add_provider(fake, name="up", default_model="fake-large")
        get_provider_manager().set_default("up")
        yield running_hub
    running_hub.reset()


@pytest.fixture(scope="module")
def key(running: LiveHub) -> str:
    return running.issue_key()


def answer_to(case: schemathesis.Case, hub: LiveHub, **headers: str) -> schemathesis.Response:
    """Send a request, and check the answer: no 5xx, and status, headers, content type and body as described."""
    for name in {"authorization", "x-api-key"} & {name.lower() for name in case.headers or ()}:
        del case.headers[name]
    case.cookies = {}
    if case.path.startswith("/api/providers") and isinstance(case.body, dict):
        case.body["base_url"] = CLOSED_PORT  # nobody else's address is to be probed
    return case.call_and_validate(base_url=hub.url, headers=headers, excluded_checks=NOT_PROMISED)


@api.parametrize()
@fuzzed
def test_every_answer_to_a_caller_with_a_key_is_as_described(case, running, key):
    answer = answer_to(case, running, authorization=f"Bearer {key}")

    assert answer.status_code != 401 or "authorization" not in answer.request.headers  # one request leaves it out


@api.parametrize()
@fuzzed
def test_every_answer_to_a_caller_without_a_key_is_as_described(case, running):
    assert answer_to(case, running).status_code in (401, 404, 405)


def test_the_hub_serves_this_description(running):
    assert httpx.get(f"{running.url}/api/schema?format=json").json() == DESCRIBED


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(b"{}", {"content-type": "text/plain"}, 415, id="text"),
        pytest.param(b"x" * (project.MAX_BODY_BYTES + 1), {}, 413, id="too large"),
        pytest.param(b"{}", {"x": "v" * 70_000}, 431, id="a huge header"),
        pytest.param(b"{}", {"authorization": "Bearer lh_nobody"}, 401, id="an unknown key"),
        pytest.param(b"[]", {}, 400, id="a list"),
    ],
)
@pytest.mark.parametrize(
    "path", [path for path, found in DESCRIBED["paths"].items() if "requestBody" in found.get("post", ())]
)
def test_what_is_refused_before_a_view_sees_it_is_described_too(running, key, path, content, headers, status):
    usual = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    answer = httpx.post(running.url + path, content=content, headers=usual | headers)

    assert answer.status_code == status
    assert str(status) in DESCRIBED["paths"][path]["post"]["responses"]

from __future__ import annotations

import pytest
from django.test import RequestFactory

from llmhub.dashboard.errors import server_error

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/api/nothing", "/api/providers/", "/api/providers/a/b/c"])
def test_an_unknown_endpoint_is_told_in_json(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_an_unknown_page_is_told_in_html(client):
    answer = client.get("/nothing")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize(("path", "kind"), [("/api/status", "application/json"), ("/admin/", "text/html")])
def test_a_failure_of_the_hub_says_nothing_of_its_cause(path, kind):
    answer = server_error(RequestFactory().get(path))

    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (500, kind)

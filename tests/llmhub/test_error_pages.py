from __future__ import annotations

import pytest
from django.test import Client

from llmhub.error_pages import server_error

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/api/nothing", "/api/providers/", "/api/providers/a/b/c"])
def test_an_unknown_path_of_the_api_is_answered_in_json(path):
    answer = Client().get(path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


def test_an_unknown_page_is_answered_with_a_page():
    answer = Client().get("/nothing")

    assert answer.status_code == 404
    assert answer["content-type"].startswith("text/html")


@pytest.mark.parametrize(("path", "kind"), [("/api/status", "application/json"), ("/admin/", "text/html")])
def test_a_crash_is_answered_in_kind_and_tells_nothing(rf, path, kind):
    answer = server_error(rf.get(path))

    assert answer.status_code == 500
    assert answer["content-type"].startswith(kind)

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.test import Client
from django.urls import path

from llmhub.urls import handler400, handler403, handler404, handler500, urlpatterns

pytestmark = pytest.mark.django_db

CANARY = "canary-4711"


def crash(request):
    raise RuntimeError(CANARY)


def lose_the_database(request):
    raise OperationalError(CANARY)


def refuse(request):
    raise PermissionDenied(CANARY)


urlpatterns = [
    *urlpatterns,
    path("crash", crash),
    path("api/crash", crash),
    path("lost", lose_the_database),
    path("api/lost", lose_the_database),
    path("refused", refuse),
    path("api/refused", refuse),
]
HANDLERS = (handler400, handler403, handler404, handler500)
FAILURES = [("crash", 500), ("lost", 503), ("refused", 403), ("nothing", 404)]


@pytest.fixture
def visitor(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ["/api/nothing", "/api/providers/", "/api/providers/a/b/c"])
def test_an_unknown_path_of_the_api_is_answered_in_json(path):
    answer = Client().get(path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(("path", "status"), FAILURES)
def test_people_get_a_page_with_a_way_back_that_tells_nothing_of_the_cause(visitor, path, status):
    answer = visitor.get(f"/{path}")

    page = answer.content.decode()
    assert (answer.status_code, answer["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"Error {status}" in page
    assert 'href="/admin/"' in page
    assert CANARY not in page


@pytest.mark.parametrize(("path", "status"), FAILURES)
def test_programs_get_json_that_tells_nothing_of_the_cause(visitor, path, status):
    answer = visitor.get(f"/api/{path}")

    assert (answer.status_code, answer["content-type"]) == (status, "application/json")
    assert set(answer.json()["error"]) == {"type", "message", "code", "param"}
    assert CANARY not in answer.content.decode()


def test_a_host_that_is_not_ours_is_answered_without_naming_it(visitor):
    answer = visitor.get("/admin/", HTTP_HOST=f"{CANARY}.example")

    assert answer.status_code == 400
    assert "LLMHUB_ALLOWED_HOSTS" in answer.content.decode()
    assert CANARY not in answer.content.decode()


@pytest.mark.parametrize("path", ["/crash", "/lost"])
def test_failures_are_told_without_asking_the_database(visitor, django_assert_num_queries, path):
    with django_assert_num_queries(0):
        visitor.get(path)


def test_a_database_that_is_away_is_worth_another_try(visitor):
    assert visitor.get("/lost").headers["retry-after"] == "60"
    assert visitor.get("/api/lost").json()["error"]["code"] == "database_unavailable"


def test_staff_who_may_not_see_a_page_keep_their_way_back(client):
    client.force_login(User.objects.create_user("ann", is_staff=True))

    page = client.get("/admin/auth/user/").content.decode()

    assert "Your groups do not allow it." in page
    assert 'href="/admin/"' in page


@pytest.mark.parametrize(
    "path",
    [
        "/admin/providers/providerconfig/?name=%00",
        "/admin/access/application/?name__regex=(",
        "/admin/access/apikey/?scopes__exact=chat",
        "/admin/history/change/?actor=%00",
    ],
)
def test_what_no_column_can_be_compared_with_is_a_bad_request(admin_client, path):
    admin_client.raise_request_exception = False

    answer = admin_client.get(path)

    assert answer.status_code == 400
    assert "invalid filter" in answer.content.decode()

"""No address, and no method, makes the hub fail: whatever stands in a query string, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from chat.history.models import Chat
from llmhub.access.principals import Scope
from llmhub.gateway_urls import PATHS
from providers.models import ProviderConfig
from tests.admin_pages import add_one_of_each, url
from tests.clients import client_with
from tests.live import LiveHub
from tests.undone import undone

HUGE = "9" * 400
ODD_VALUES = [
    "abc",
    "",
    "%00",
    "%C3%A9",
    "%FF",
    "%ED%A0%80",
    "-1",
    "1e400",
    HUGE,
    "99999999999999999999",
    "1,2",
    "x" * 20_000,
]
ODD_NAMES = ["%C3%A9", "%00", "%FF", "id__", "__", "_", "pk__in", "id__gte", "id__regex", "password__startswith"]
STANDARD = ["q", "o", "p", "all", "e", "_popup", "_to_field", "_changelist_filters"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"]
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def staff() -> Iterator[Client]:
    add_one_of_each()
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("ann"))
    return client


def odd_queries(*names: str) -> list[str]:
    """Return query strings with odd names, and odd values of these names."""
    odd = [f"{name}=1" for name in ODD_NAMES]
    odd += [f"{name}={value}" for name in names for value in ODD_VALUES]
    return [*odd, "&".join(f"n{number}=1" for number in range(900)), "p=1&p=abc&p=", "&&&", "%", "é", "a=b=c;d"]


def odd_lookups(*fields: str) -> list[str]:
    values = {"": "abc", "__exact": "%00", "__gte": HUGE}
    return [f"{field}{lookup}={value}" for field in fields for lookup, value in values.items()]


def failures(client: Client, path: str, queries: list[str]) -> dict[str, int]:
    """Return what the page failed at. What it wrote is taken back, so that none makes another fail."""
    failed = {}
    for query in queries:
        with undone():
            status = client.get(f"{path}?{query}").status_code
        if status >= 500:
            failed[query[:80]] = status
    return failed


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_query_string_makes_a_page_of_the_admin_fail(staff, model):
    fields = [field.name for field in model._meta.get_fields() if not field.auto_created]
    own = url(model, "changelist")

    failed = failures(staff, own, [*odd_queries(), *odd_lookups(*fields)])
    filled = ("&".join(f"{field}={value}" for field in fields) for value in ("abc", "%00", HUGE, "-1", ""))
    failed |= failures(staff, f"{own}add/", [*filled, "%C3%A9=1"])
    for pk in ("abc", "%00", HUGE):
        for page in ("change", "history", "delete"):
            failed |= failures(staff, f"{own}{pk}/{page}/", ["%C3%A9=1"])

    assert failed == {}


@pytest.mark.django_db
def test_no_parameter_of_a_list_makes_it_fail(staff):
    assert failures(staff, url(ProviderConfig, "changelist"), odd_queries(*STANDARD)) == {}
    assert failures(staff, url(Chat, "changelist"), odd_queries(*STANDARD)) == {}


FILTERS = ("app", "conversation", "cursor", "format", "key", "limit", "min_cost", "model", "provider", "since",
           "status", "until", "user")  # fmt: skip
READ_BY = {
    "/admin/": ("period",),
    "/admin/playground/": ("provider", "model", "as_key"),
    "/admin/playground/plan/": ("provider", "model", "as_key"),
    "/admin/search/": ("s",),
    "/admin/jsi18n/": ("lang",),
    "/admin/autocomplete/": ("term", "app_label", "model_name", "field_name"),
    "/accounts/login/": ("next",),
    "/admin/login/": ("next",),
    "/api/docs": ("format", "lang", "version"),
    "/api/schema": ("format", "lang", "version"),
    "/api/status": ("format",),
    "/api/audit/chats": FILTERS,
    "/api/providers": ("format",),
    "/api/providers/health": ("format", "live"),
    "/api/providers/models": ("format",),
}
"""What each page reads is tried by itself, as one refusal may hide the next; all else at once."""


@pytest.mark.django_db
@pytest.mark.parametrize("path", READ_BY)
def test_no_query_string_makes_any_other_page_fail(staff, path):
    others = {name for names in READ_BY.values() for name in names} - {*READ_BY[path], "format"}

    odd_values = [f"{name}={value}" for name in READ_BY[path] for value in ODD_VALUES]
    odd_values += ["&".join(f"{name}={value}" for name in sorted(others)) for value in ("abc", "%00", HUGE)]

    assert staff.get(path, follow=True).status_code != 404
    assert failures(staff, path, [*odd_queries(), *odd_values]) == {}


def paths_of(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
        if isinstance(pattern, URLResolver):
            yield from paths_of(pattern.url_patterns, path)
        elif "admin" not in path and "(" not in path:
            yield path.replace("<provider:name>", "ollama").replace(
                "<uuid:chat_id>", "01a203fd-05bb-7000-8000-000000000000"
            )


PAGES = sorted(set(paths_of(get_resolver("llmhub.urls").url_patterns)))


@pytest.mark.django_db
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("who", ["stranger", "application"])
def test_no_method_makes_a_page_fail(path, who):
    client = client_with(*Scope) if who == "application" else Client()
    client.raise_request_exception = False

    failed = {}
    for method in METHODS:
        with undone():
            status = client.generic(method, path, "{}", content_type="application/json").status_code
        if status >= 500 and status != 502:  # 502 is a provider's
            failed[method] = status

    assert failed == {}


@pytest.mark.parametrize(
    "path", [*PATHS, "/v1/models", "/v1/models/%00", "/v1/chat/completions", "/api/chat/multi", "/v1/"]
)
@pytest.mark.parametrize("has_key", [False, True], ids=["stranger", "application"])
def test_no_method_and_no_query_string_makes_the_chats_way_fail(hub: LiveHub, path, has_key):
    headers = hub.headers(hub.issue_key()) if has_key else {}

    asked = [(method, path) for method in METHODS]
    asked += [("GET", f"{path}?{query}") for query in odd_queries("model", "limit")]
    answers = {ask: hub.client.request(*ask, content=b"{}", headers=headers).status_code for ask in asked}

    assert {ask: status for ask, status in answers.items() if status >= 500} == {}

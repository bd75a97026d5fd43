"""Questions whose answers, not whose texts, would tell a secret: lookups, orders, searches, and who is told what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from chat.history.models import Chat
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.access.secrets import Secret
from providers.models import ProviderConfig
from tests.admin_pages import add_one_of_each, url
from tests.clients import client_with
from tests.live import LiveHub
from tests.people import make_staff, member_of, signed_in

SECRET_FIELDS = {
    "access.ApiKey": {"digest"},
    "auth.User": {"password"},
    "ledger.ChatContent": {"body", "salt"},
    "mfa.Authenticator": {"data"},
    "providers.ProviderConfig": {"api_key"},
    "sessions.Session": {"session_data", "session_key"},
}
"""What no list may be narrowed or ordered by, wherever it starts from."""

DEPTH = 3
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def secret_paths(model: type[Model], *, depth: int = DEPTH, seen: tuple[type[Model], ...] = ()) -> Iterator[str]:
    """The lookups that lead from a model to a secret, over relations in both directions."""
    yield from SECRET_FIELDS.get(model._meta.label, ())
    for relation in model._meta.get_fields():
        other = relation.related_model
        if depth and isinstance(other, type) and other not in (*seen, model):
            for path in secret_paths(other, depth=depth - 1, seen=(*seen, model)):
                yield f"{relation.name}__{path}"


LOOKUPS = [(model, path) for model in MODELS for path in sorted(set(secret_paths(model)))]


def test_secrets_are_named_here_as_the_models_name_them():
    for label, names in SECRET_FIELDS.items():
        fields = {field.name for field in apps.get_model(label)._meta.get_fields()}
        assert names <= fields, label


@pytest.mark.django_db
def test_no_list_is_narrowed_by_a_secret_over_any_relation(admin_client):
    add_one_of_each()

    answered = {
        (model._meta.label, lookup): status
        for model, path in LOOKUPS
        for lookup in (path, f"{path}__startswith")
        if (status := admin_client.get(url(model, "changelist"), {lookup: "1"}).status_code) != 400
    }

    assert answered == {}
    assert len(LOOKUPS) > 10


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_list_searches_orders_or_filters_by_a_secret(model, admin_user):
    page = admin.site._registry[model]
    request = RequestFactory().get("/")
    request.user = admin_user
    secret = set(secret_paths(model))
    columns = [getattr(page, str(name), None) for name in page.get_list_display(request)]
    orders = {str(getattr(column, "admin_order_field", "")) for column in columns} | set(page.get_ordering(request))
    searches = {re.sub(r"^[\^=@]", "", name).partition("__iexact")[0] for name in page.get_search_fields(request)}
    filters = {item[0] if isinstance(item, tuple) else item for item in page.get_list_filter(request)}
    shown = {str(name) for name in page.get_list_display(request)}

    named = {str(name).lstrip("-") for name in (*orders, *searches, *filters, *shown)}
    assert {name for name in named if any(name == path or name.startswith(f"{path}__") for path in secret)} == set()


@pytest.mark.django_db
@pytest.mark.parametrize("query", [{"o": "-99"}, {"o": "api_key"}, {"o": "0.1.2"}])
@pytest.mark.parametrize("model", [ApiKey, ProviderConfig, User, Authenticator], ids=lambda model: model.__name__)
def test_an_order_that_no_column_has_changes_nothing(admin_client, model, query):
    add_one_of_each()
    if model is User:
        User.objects.create_user("a-first", password="z")

    usual, asked = (
        [row.pk for row in admin_client.get(url(model, "changelist"), sent).context["cl"].result_list]
        for sent in ({}, query)
    )

    assert sorted(usual) == sorted(asked)
    assert asked in (usual, sorted(usual), sorted(usual, reverse=True), usual[::-1])


CLEVER = (
    "api_key__startswith", "api_key__gt", "api_key__regex", "settings__x", "ordering", "order_by", "search", "q",
    "fields", "expand", "include", "provider__api_key__startswith", "application__keys__digest__startswith",
    "keys__digest", "password__startswith", "actor__password", "content__body__contains", "o", "limit__gt",
)  # fmt: skip
"""What list parameters are called in one framework or another."""


@pytest.mark.django_db
def test_the_history_takes_no_question_that_it_does_not_name():
    client = client_with(*Scope)

    answers = {name: client.get("/api/audit/chats", {name: "a"}).status_code for name in CLEVER}

    assert set(answers.values()) == {400}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/providers", "/api/providers/health", "/api/providers/models", "/api/status"])
def test_providers_are_told_the_same_whatever_is_asked_besides(path):
    client = client_with(*Scope)
    ProviderConfig.objects.update(api_key=Secret.seal("sk-canary"))
    usual = client.get(path).json()

    told = [client.get(path, {name: value}).json() for name in CLEVER for value in ("a", "sk-")]

    for answer in told:
        answer.pop("pending_actions", None)
    usual.pop("pending_actions", None)
    assert all(answer == usual for answer in told)


@pytest.mark.django_db
@pytest.mark.parametrize("group", ["", "Reviewer", "Operator"])
def test_an_autocomplete_tells_nobody_what_they_may_not_list(group):
    add_one_of_each()
    client = member_of(group)
    told = {}
    for model in MODELS:
        for relation in model._meta.get_fields():
            if relation.related_model is None or not hasattr(relation, "attname"):
                continue
            other = admin.site._registry.get(relation.related_model)
            asked = {
                "app_label": model._meta.app_label,
                "model_name": model._meta.model_name,
                "field_name": relation.name,
                "term": "",
            }
            response = client.get(reverse("admin:autocomplete"), asked)
            request = RequestFactory().get("/")
            request.user = User.objects.get(username=f"somebody-{group}")
            may = other is not None and other.has_view_permission(request)
            if response.status_code not in (403, 404) and not may:
                told[(model._meta.label, relation.name)] = response.status_code

    assert told == {}


def words(response: Any) -> tuple[int, str]:
    """An answer without what is different each time."""
    body = response.content.decode()
    body = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", body)
    return response.status_code, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\?next=[^\"]*", "", body)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/providers", "/api/audit/chats", "/api/status"])
def test_a_key_that_is_nearly_right_is_as_unknown_as_any(client, path):
    _, key = ApiKey.objects.issue(Application.objects.create(name="demo"), name="one", scopes=Scope.values)
    row = ApiKey.objects.get()
    near = [
        key[:-1],
        key + "x",
        key[:10],
        key.swapcase(),
        row.digest,
        row.prefix,
        key[::-1],
        f"{key} "[:-2],
        "lh_" + "0" * 43,
    ]

    told = {words(client.get(path, headers={"x-api-key": guess})) for guess in near}

    assert len(told) == 1
    assert told.pop()[0] == 401


def ids(model: type[Model]) -> list[str]:
    """The id of a row that is there, and of one that is not."""
    there = model._default_manager.all()[0].pk
    missing = uuid4() if not isinstance(there, int) else 987_654_321
    return [str(quote(there)), str(missing)]


@pytest.mark.django_db
def test_staff_without_permission_learns_of_no_row_whether_it_is_there():
    add_one_of_each()
    client = member_of()

    told = {
        (model._meta.label, verb): {words(client.get(url(model, verb, pk))) for pk in ids(model)}
        for model in MODELS
        for verb in ("change", "delete", "history")
    }

    assert {page: len(answers) for page, answers in told.items() if len(answers) > 1} == {}
    assert {status for answers in told.values() for status, _ in answers} == {403}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["ollama", "nothing"])
@pytest.mark.parametrize(
    ("method", "rest"), [("get", ""), ("patch", ""), ("delete", ""), ("post", "/check"), ("post", "/default")]
)
def test_a_key_without_the_scope_learns_of_no_provider_whether_it_is_there(name, method, rest):
    client = client_with(Scope.CHAT)

    answer = getattr(client, method)(f"/api/providers/{name}{rest}", {}, format="json")

    assert answer.status_code == 403
    assert name not in answer.content.decode()


@pytest.mark.django_db
def test_a_key_without_the_scope_learns_of_no_chat_whether_it_is_there():
    add_one_of_each()
    client = client_with(Scope.CHAT, Scope.PROVIDERS_WRITE)

    told = {words(client.get(f"/api/audit/chats/{pk}")) for pk in (*ids(Chat), "x", "../x")}

    assert {status for status, _ in told if status != 404} == {403}
    assert len({body for status, body in told if status == 403}) == 1


@pytest.mark.django_db
def test_a_chats_content_is_given_to_nobody_who_may_not_read_it():
    add_one_of_each()
    pages = [reverse("admin:chat_chat_raw", args=[pk, part]) for pk in ids(Chat) for part in ("request", "answer")]

    for client in (member_of(), member_of("Operator")):
        assert {client.get(page).status_code for page in pages} == {403}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_sign_in_tells_nobody_which_users_there_are(client, path):
    User.objects.create_user("there", password="right-4711-horse")
    User.objects.create_user("inactive", password="right-4711-horse", is_active=False)
    names = {"login": "username"}

    told = set()
    for name in ("there", "inactive", "nobody"):
        sent = dict.fromkeys(("login", *names.values()), name) | {"password": "wrong"}
        status, body = words(Client().post(path, sent, follow=True))
        told.add((status, body.replace(name, "NAME")))

    assert len(told) == 1


@pytest.mark.django_db
def test_there_is_no_other_way_to_ask_for_an_account(client):
    paths = (
        "password/reset/",
        "signup/",
        "email/",
        "confirm-email/x/",
        "password/change/",
        "social/login/",
        "3rdparty/",
    )

    assert {client.get(f"/accounts/{path}").status_code for path in paths} == {404}


def test_a_key_is_no_oracle_for_other_keys_in_the_playground(hub: LiveHub):
    hub.issue_key()
    missing, there = 987_654_321, ApiKey.objects.get().pk
    user = make_staff("chatter", permissions=("use_chat",))
    try:
        client = signed_in(user)

        told = {words(client.get(reverse("playground-plan"), {"as_key": key})) for key in (missing, there, "x", "-1")}
    finally:
        user.delete()

    assert len(told) == 1


@pytest.mark.django_db
def test_no_page_shows_a_secret_in_clear_or_sealed(admin_client):
    add_one_of_each()
    provider, key = ProviderConfig.objects.get(), ApiKey.objects.get()
    sealed = Secret.seal("sk-canary-4711-canary")
    ProviderConfig.objects.update(api_key=sealed)
    user = User.objects.get(username="bob")
    user.set_password("canary-4711-horse")
    user.save()
    Authenticator.objects.update(data={"secret": "CANARYTOTP"})
    secrets = [
        "sk-canary-4711",
        sealed.token[20:60],
        key.digest,
        user.password.rpartition("$")[2],
        "CANARYTOTP",
        str(admin_client.session.session_key),
    ]
    now = timezone.now()
    ApiKey.objects.update(revoked_at=now)
    pages = [url(model, "changelist") for model in MODELS]
    for model in MODELS:
        row = model._default_manager.all()[0]
        pages += [url(model, verb, quote(row.pk)) for verb in ("change", "history")]
    pages.append(url(ProviderConfig, "history", provider.pk))

    shown = {
        (page, secret)
        for page in pages
        for text in [admin_client.get(page, follow=True).content.decode()]
        for secret in secrets
        if secret in text
    }

    assert shown == set()

from datetime import timedelta
from itertools import chain

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from llmhub.access.authentication import SCOPE_PERMISSIONS, ApiKeyAuthentication, request_principal, user_principal
from llmhub.access.models import ApiKey, Application
from llmhub.access.permissions import HasScope
from llmhub.access.principals import Principal, Scope

pytestmark = pytest.mark.django_db
KEY = "lh_a-key-of-the-tests"


class View:
    scopes = {"GET": Scope.PROVIDERS_READ, "POST": Scope.PROVIDERS_WRITE}


def issue(**fields):
    application, _ = Application.objects.get_or_create(name="support-bot")
    return ApiKey.objects.issue(application, name="test", key=KEY, **{"scopes": ["chat"], **fields})[0]


def authenticate(**headers):
    request = Request(APIRequestFactory().get("/api/providers", headers=headers))
    return ApiKeyAuthentication().authenticate(request)


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
def test_a_key_is_taken_from_either_header(headers):
    issue()

    principal, auth = authenticate(**headers)

    assert principal is auth
    assert (principal.application, principal.scopes) == ("support-bot", {"chat"})


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic YTpi"}])
def test_without_a_key_somebody_else_may_say_who_it_is(headers):
    assert authenticate(**headers) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"revoked_at": timezone.now()}, "was revoked", id="revoked"),
        pytest.param({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired", id="expired"),
    ],
)
def test_a_key_out_of_force_is_refused_with_the_reason(fields, words):
    issue(**fields)

    with pytest.raises(AuthenticationFailed, match=words) as refused:
        authenticate(authorization=f"Bearer {KEY}")

    assert refused.value.get_codes() == "invalid_api_key"


def test_a_key_of_an_application_that_is_switched_off_is_refused():
    issue()
    Application.objects.update(is_active=False)

    with pytest.raises(AuthenticationFailed, match="switched off"):
        authenticate(authorization=f"Bearer {KEY}")


def test_an_unknown_key_is_refused_and_not_repeated():
    with pytest.raises(AuthenticationFailed, match="not known here") as refused:
        authenticate(authorization=f"Bearer {KEY}")

    assert KEY not in str(refused.value)


@pytest.mark.parametrize("key", ["0777", "x" * 257, "' OR ''='", "schl\xfcssel-schl\xfcssel"])
def test_what_no_key_looks_like_is_refused_before_the_database_is_asked(key, django_assert_num_queries):
    with django_assert_num_queries(0), pytest.raises(AuthenticationFailed):
        authenticate(**{"x-api-key": key})


@pytest.mark.parametrize(
    "key", ["'OR''='1'OR''='1'OR''='1", "lh_%%%%%%%%%%%%%%%%%%%", "');DROP/**/TABLE/**/chat_chat;--"]
)
def test_a_key_is_never_part_of_a_query(key, django_assert_num_queries):
    issue()

    with django_assert_num_queries(1) as queries, pytest.raises(AuthenticationFailed):
        authenticate(**{"x-api-key": key})

    assert not [query for query in queries.captured_queries if key in query["sql"]]


def staff(*permissions, **fields):
    user = User.objects.create_user("ada", **{"is_staff": True, **fields})
    for name in permissions:
        app, _, codename = name.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return User.objects.get(pk=user.pk)


PERMISSIONS = tuple(chain.from_iterable(SCOPE_PERMISSIONS.values()))


@pytest.mark.parametrize(("scope", "permissions"), SCOPE_PERMISSIONS.items())
def test_permissions_of_a_user_stand_for_a_scope_of_a_key(scope, permissions):
    same = {other for other, needed in SCOPE_PERMISSIONS.items() if needed == permissions}

    assert scope in same
    assert user_principal(staff(*permissions)) == Principal(actor="ada", scopes=frozenset(same))


def test_who_may_only_change_providers_neither_adds_nor_removes_them_by_the_api():
    assert user_principal(staff("providers.change_providerconfig")).scopes == frozenset()


def test_every_scope_has_a_permission_that_stands_for_it():
    assert SCOPE_PERMISSIONS.keys() == set(Scope)
    assert user_principal(staff(is_superuser=True)).scopes == set(Scope)


def test_a_user_who_is_not_staff_may_nothing():
    assert user_principal(staff(*PERMISSIONS, is_staff=False)).scopes == frozenset()


def test_a_user_who_is_not_active_may_nothing():
    assert user_principal(staff(*PERMISSIONS, is_active=False)).scopes == frozenset()


def asked(method, *, principal=None, user=None):
    request = Request(getattr(APIRequestFactory(), method.lower())("/api/providers"))
    request.user, request.auth = user or principal, principal
    return request


@pytest.mark.parametrize(
    ("method", "scopes", "may"),
    [
        ("GET", {Scope.PROVIDERS_READ}, True),
        ("POST", {Scope.PROVIDERS_WRITE}, True),
        ("GET", {Scope.PROVIDERS_WRITE}, False),
        ("POST", {Scope.PROVIDERS_READ}, False),
        ("GET", set(), False),
        ("HEAD", {Scope.PROVIDERS_READ}, True),
        ("HEAD", {Scope.PROVIDERS_WRITE}, False),
    ],
)
def test_a_caller_needs_the_scope_that_the_view_names_for_the_method(method, scopes, may):
    request = asked(method, principal=Principal(application="support-bot", scopes=frozenset(scopes)))

    assert HasScope().has_permission(request, View()) is may


@pytest.mark.parametrize(("method", "view"), [("DELETE", View()), ("OPTIONS", View()), ("GET", object())])
def test_what_a_view_names_no_scope_for_is_let_in_for_nobody(method, view):
    request = asked(method, principal=Principal(scopes=frozenset(Scope)))

    with pytest.raises(MethodNotAllowed):
        HasScope().has_permission(request, view)


def test_who_lacks_a_scope_is_told_which():
    permission = HasScope()

    permission.has_permission(asked("POST", principal=Principal()), View())

    assert permission.message == "This needs the scope providers:write."


def test_a_signed_in_user_is_let_in_by_permission():
    assert HasScope().has_permission(asked("GET", user=staff("providers.view_providerconfig")), View())
    assert request_principal(asked("GET", user=User.objects.get())).actor == "ada"


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_nobody_is_not_let_in(user):
    assert not HasScope().has_permission(asked("GET", user=user), View())

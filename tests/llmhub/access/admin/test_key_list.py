from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from llmhub.access.models import ApiKey, Application, KeyState
from llmhub.adminkit.times import exact_time
from tests.admin_pages import count_queries
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/access/apikey/"


@pytest.fixture
def one_in_each_state(application: Application) -> None:
    now, off = timezone.now(), Application.objects.create(name="off", is_active=False)
    ends: dict[str, dict[str, Any]] = {
        "live": {"expires_at": now + timedelta(days=15)},
        "endless": {},
        "expires_soon": {"expires_at": now + timedelta(days=13)},
        "expired": {"expires_at": now - timedelta(days=1)},
        "revoked": {"revoked_at": now, "expires_at": now - timedelta(days=1)},
    }
    for name, fields in ends.items():
        ApiKey.objects.issue(application, name=name, scopes=["chat"], **fields)
    ApiKey.objects.issue(off, name="switched_off", scopes=["chat", "audit:read"])


def listed(answer: Any) -> set[str]:
    return {key.name for key in answer.context["cl"].result_list}


def test_every_state_has_its_words(one_in_each_state):
    states = {key.name: key.state(now=timezone.now()) for key in ApiKey.objects.all()}

    assert states.pop("endless") == KeyState.LIVE
    assert states == {state.value: state for state in KeyState}


@pytest.mark.parametrize("state", KeyState)
def test_the_list_is_filtered_by_state_as_it_tells_it(admin_client, one_in_each_state, state):
    answer = admin_client.get(LIST, {"state": state.value})

    assert listed(answer) == ({"live", "endless"} if state == KeyState.LIVE else {state.value})
    assert state.label in answer.content.decode()


def test_the_keys_in_force_are_those_that_let_somebody_in(admin_client, one_in_each_state):
    answer = admin_client.get(LIST, {"state": "in_force"})
    applications = admin_client.get("/admin/access/application/")

    assert listed(answer) == {"live", "endless", "expires_soon"}
    assert {a.name: a.live_key_count for a in applications.context["cl"].result_list} == {"support-bot": 3, "off": 0}


def test_the_list_is_filtered_by_application_and_scope_and_searched(admin_client, one_in_each_state):
    off = Application.objects.get(name="off")

    by_application = admin_client.get(LIST, {"application__id__exact": off.pk})
    by_scope = admin_client.get(LIST, {"scope": "audit:read"})
    by_prefix = admin_client.get(LIST, {"q": ApiKey.objects.get(name="expired").prefix})
    by_nonsense = admin_client.get(LIST, {"state": "no such", "scope": "no such"})

    assert listed(by_application) == listed(by_scope) == {"switched_off"}
    assert listed(by_prefix) == {"expired"}
    assert listed(by_nonsense) == set()


def test_last_use_is_told_in_words_with_the_exact_time_at_hand(admin_client, application):
    at = timezone.now() - timedelta(hours=5)
    ApiKey.objects.issue(application, name="used", scopes=["chat"], last_used_at=at)
    ApiKey.objects.issue(application, name="new", scopes=["chat"], expires_at=timezone.now() + timedelta(days=40))

    page = admin_client.get(LIST).content.decode()

    assert f'title="{exact_time(at)}">5 hours ago</time>' in page
    assert "never" in page
    assert "in 1 month" in page


def test_only_who_may_revoke_is_offered_it(application):
    ApiKey.objects.issue(application, name="production", scopes=["chat"])
    onlooker, operator = member_of(""), member_of("Operator")
    User.objects.get(username="somebody-").user_permissions.set(Permission.objects.filter(codename="view_apikey"))

    pages = [client.get(LIST) for client in (onlooker, operator)]

    assert [page.status_code for page in pages] == [200, 200]
    assert ["Revoke…" in page.content.decode() for page in pages] == [False, True]


def ids_of_new(number: int, application: Application) -> str:
    keys = [ApiKey.objects.issue(application, name="worker", scopes=["chat"])[0] for _ in range(number)]
    return ",".join(str(key.pk) for key in keys)


@pytest.mark.parametrize("path", ["/admin/access/application/{application}/change/", f"{LIST}revoke/?keys={{keys}}"])
def test_a_page_asks_no_more_for_many_keys_than_for_one(admin_client, application, path):
    one = path.format(application=application.pk, keys=ids_of_new(1, application))
    few = count_queries(admin_client, one)

    many = path.format(application=application.pk, keys=ids_of_new(100, application))

    assert count_queries(admin_client, many) == few <= 12

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from tests.admin_pages import said
from tests.clients import client_with
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/access/apikey/"
REVOKE = "/admin/access/apikey/revoke/"


def issue(application: Application, name: str = "production", **fields: Any) -> ApiKey:
    return ApiKey.objects.issue(application, name=name, scopes=[Scope.CHAT], **fields)[0]


def revoke(client: Client, *keys: ApiKey) -> Any:
    return client.post(REVOKE, {"keys": ",".join(str(key.pk) for key in keys)}, follow=True)


def revoked() -> set[str]:
    return set(ApiKey.objects.exclude(revoked_at=None).values_list("name", flat=True))


def test_whoever_asks_to_revoke_is_first_told_which_keys_and_when_they_were_used(admin_client, application):
    used = issue(application, "used", last_used_at=timezone.now() - timedelta(hours=3))
    unused = issue(application, "unused")
    chosen = {"action": "revoke", "_selected_action": [used.pk, unused.pk]}

    bulk = admin_client.post(LIST, chosen).content.decode()
    row = admin_client.get(REVOKE, {"keys": used.pk}).content.decode()
    page = admin_client.get(f"{LIST}{used.pk}/revoke/").content.decode()

    assert all(word in bulk for word in ("unused", "never", "Revoke 2 keys"))
    for shown in (bulk, row, page):
        assert all(word in shown for word in (used.prefix, "used", "3 hours ago", f'action="{REVOKE}"'))
    assert revoked() == set()


def test_many_keys_are_named_up_to_a_number(admin_client, application):
    keys = [issue(application, f"key-{number:03}") for number in range(102)]

    page = admin_client.get(REVOKE, {"keys": ",".join(str(key.pk) for key in keys)}).content.decode()

    assert ("key-099" in page, "key-100" in page) == (True, False)
    assert "and 2 more" in page


def test_revoking_counts_and_cannot_be_undone(admin_client, application):
    long_ago = timezone.now() - timedelta(days=9)
    one, two, gone = issue(application, "one"), issue(application, "two"), issue(application, "gone")
    ApiKey.objects.filter(pk=gone.pk).update(revoked_at=long_ago)

    answer = revoke(admin_client, one, two, gone)
    page = reverse("admin:access_apikey_change", args=[gone.pk])
    back = admin_client.post(page, {"name": "back", "scopes": ["chat"], "revoked_at_0": "", "revoked_at": ""})

    gone.refresh_from_db()
    assert said(answer) == [
        "Revoked 2 keys. Requests are refused within a second.",
        "1 already revoked.",
    ]
    assert (revoked(), back.status_code) == ({"one", "two", "gone"}, 403)
    assert (gone.revoked_at, gone.name) == (long_ago, "gone")


def test_one_key_is_revoked_by_its_name(admin_client, application):
    key = issue(application)

    answer = revoke(admin_client, key)

    assert said(answer) == [f"Revoked {key}. Requests are refused within a second."]
    assert revoked() == {"production"}


@pytest.mark.parametrize("keys", ["", "x", "-1", "9" * 30, "²", "1;DROP", "999999"])
def test_what_names_no_key_revokes_none(admin_client, application, keys):
    issue(application)

    asked = admin_client.get(REVOKE, {"keys": keys})
    answer = admin_client.post(REVOKE, {"keys": keys}, follow=True)

    assert asked.status_code == 200
    assert (said(answer), revoked()) == (["No such key."], set())


def test_looking_revokes_nothing_and_a_strange_page_cannot(admin_client, application):
    key = issue(application)
    strict = Client(enforce_csrf_checks=True, headers={"cookie": admin_client.cookies.output(header="", sep=";")})

    admin_client.get(REVOKE, {"keys": key.pk})
    forged = revoke(strict, key)

    assert forged.status_code == 403
    assert revoked() == set()


@pytest.mark.parametrize(("group", "may"), [("Admin", True), ("Operator", True), ("Reviewer", False), ("", False)])
def test_who_may_revoke(application, group, may):
    key, client = issue(application), member_of(group)

    paths = [f"{REVOKE}?keys={key.pk}", f"{LIST}{key.pk}/revoke/"]
    statuses = {client.get(path).status_code for path in paths} | {revoke(client, key).status_code}

    assert statuses == ({200} if may else {403})
    assert revoked() == ({"production"} if may else set())


def test_the_page_of_a_revoked_key_offers_no_more_revoking(admin_client, application):
    live, gone = issue(application, "live"), issue(application, "gone", revoked_at=timezone.now())

    pages = [admin_client.get(reverse("admin:access_apikey_change", args=[key.pk])) for key in (live, gone)]

    assert [f"{key.pk}/revoke/" in p.content.decode() for key, p in zip((live, gone), pages, strict=True)] == [
        True,
        False,
    ]
    assert [p.context["has_change_permission"] for p in pages] == [True, False]


def test_a_revoked_key_is_refused_at_once(admin_client):
    api = client_with(Scope.PROVIDERS_READ)
    before = api.get("/api/providers").status_code

    revoke(admin_client, ApiKey.objects.get())
    after = api.get("/api/providers")

    assert (before, after.status_code) == (200, 401)
    assert "revoked" in after.json()["error"]["message"]

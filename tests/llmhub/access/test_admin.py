from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from tests.clients import client_with

pytestmark = pytest.mark.django_db

ADD = "/admin/access/apikey/add/"
LIST = "/admin/access/apikey/"


@pytest.fixture
def application() -> Application:
    return Application.objects.create(name="support-bot")


def issue(client: Client, application: Application, **fields: Any) -> Any:
    sent = {"application": application.pk, "name": "production", "scopes": ["chat", "audit:read"]} | fields
    return client.post(ADD, sent)


def page_of(key: ApiKey) -> str:
    return reverse("admin:access_apikey_change", args=[key.pk])


def test_a_new_key_is_shown_once_and_works(admin_client, application):
    answer = issue(admin_client, application)

    secret = answer.context["secret"]
    row = ApiKey.objects.get()
    assert answer.status_code == 200
    assert secret in answer.content.decode()
    assert "no-store" in answer.headers["cache-control"]
    assert ApiKey.objects.find_entry(secret) == row.entry()
    assert (row.application, row.scopes, row.expires_at) == (application, ["chat", "audit:read"], None)


def test_the_secret_is_kept_nowhere(admin_client, application):
    secret = issue(admin_client, application).context["secret"]
    row = ApiKey.objects.get()

    pages = [admin_client.get(path).content.decode() for path in (LIST, page_of(row), f"{page_of(row)}history/", ADD)]
    stored = serializers.serialize("json", [*ApiKey.objects.all(), *LogEntry.objects.all()])
    sessions = [session.get_decoded() for session in Session.objects.all()]
    cookies = admin_client.cookies.output()

    assert LogEntry.objects.count() == 1
    for text in (*pages, stored, str(sessions), cookies):
        assert secret not in text
        assert secret[len(row.prefix) :] not in text


def test_a_key_needs_a_scope_and_an_end_that_is_to_come(admin_client, application):
    none = issue(admin_client, application, scopes=[])
    past = issue(admin_client, application, expires_at_0="2020-01-01", expires_at_1="00:00")
    unknown = issue(admin_client, application, scopes=["root"])

    assert "scopes" in none.context["adminform"].form.errors
    assert "passed already" in str(past.context["adminform"].form.errors["expires_at"])
    assert "scopes" in unknown.context["adminform"].form.errors
    assert not ApiKey.objects.exists()


def test_a_key_is_changed_without_changing_the_secret(admin_client, application):
    row, secret = ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT])
    another = Application.objects.create(name="another")

    sent = {
        "name": "staging",
        "scopes": ["providers:read"],
        "allowed_models": "local/smollm2",
        "application": another.pk,
    }
    answer = admin_client.post(page_of(row), sent)

    changed = ApiKey.objects.get()
    assert answer.status_code == 302
    assert (changed.name, changed.scopes, changed.allowed_models) == ("staging", ["providers:read"], ["local/smollm2"])
    assert (changed.application, changed.digest) == (application, row.digest)
    assert ApiKey.objects.find_entry(secret) is not None


def test_revoking_counts_and_cannot_be_undone(admin_client, application):
    live, _ = ApiKey.objects.issue(application, name="live", scopes=[Scope.CHAT])
    gone, _ = ApiKey.objects.issue(application, name="gone", scopes=[Scope.CHAT])
    long_ago = timezone.now() - timedelta(days=9)
    ApiKey.objects.filter(pk=gone.pk).update(revoked_at=long_ago)

    sent = {"action": "revoke", "_selected_action": [live.pk, gone.pk]}
    answer = admin_client.post(LIST, sent, follow=True)
    admin_client.post(page_of(gone), {"name": "back", "scopes": ["chat"], "revoked_at_0": "", "revoked_at": ""})

    gone.refresh_from_db()
    live.refresh_from_db()
    assert [str(m) for m in answer.context["messages"]] == ["1 revoked.", "1 had been revoked before."]
    assert live.revoked_at is not None
    assert (gone.revoked_at, gone.name) == (long_ago, "gone")


def test_a_revoked_key_is_refused_at_once(admin_client):
    api = client_with(Scope.PROVIDERS_READ)
    before = api.get("/api/providers").status_code

    admin_client.post(LIST, {"action": "revoke", "_selected_action": [ApiKey.objects.get().pk]})
    after = api.get("/api/providers")

    assert (before, after.status_code) == (200, 401)
    assert "revoked" in after.json()["error"]["message"]


def test_the_list_tells_the_state_of_each_key(admin_client, application):
    now = timezone.now()
    for name, fields in {
        "a": {},
        "b": {"expires_at": now - timedelta(days=1)},
        "c": {"revoked_at": now},
    }.items():
        ApiKey.objects.issue(application, name=name, scopes=[Scope.CHAT], **fields)

    page = admin_client.get(LIST).content.decode()
    applications = admin_client.get("/admin/access/application/")

    assert all(state in page for state in ("live", "expired", "revoked"))
    assert applications.context["cl"].result_list[0].live_key_count == 1


def test_an_application_is_added_and_shows_its_keys(admin_client):
    added = admin_client.post("/admin/access/application/add/", {"name": "support-bot", "is_active": "on"})
    application = Application.objects.get()
    ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT])

    shown = admin_client.get(reverse("admin:access_application_change", args=[application.pk]))

    assert (added.status_code, shown.status_code) == (302, 200)
    assert "production" in shown.content.decode()


def test_an_application_with_keys_is_switched_off(admin_client, application):
    _, secret = ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT])
    page = reverse("admin:access_application_change", args=[application.pk])
    formset = {"keys-TOTAL_FORMS": "0", "keys-INITIAL_FORMS": "0"}

    answer = admin_client.post(page, {"name": "support-bot", **formset})

    entry = ApiKey.objects.find_entry(secret)
    assert answer.status_code == 302
    assert entry is not None
    assert not entry.is_active


def test_staff_without_permission_sees_no_keys(client, application):
    client.force_login(User.objects.create_user("ann", is_staff=True))

    assert [client.get(path).status_code for path in (LIST, ADD)] == [403, 403]


@pytest.fixture
def keeper() -> Client:
    """Someone who may do everything with keys, and of what keys allow nothing but chat."""
    user = User.objects.create_user("ann", is_staff=True)
    codes = ("add_apikey", "change_apikey", "view_apikey", "view_application", "use_chat")
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    client = Client()
    client.force_login(user)
    return client


def test_nobody_gives_a_key_more_than_they_have(keeper, application):
    refused = issue(keeper, application, scopes=["chat", "audit:read"])
    issued = issue(keeper, application, scopes=["chat"])

    assert "audit:read" in str(refused.context["adminform"].form.errors["scopes"])
    assert issued.context["secret"]
    assert ApiKey.objects.get().scopes == ["chat"]


def test_what_a_key_has_already_others_may_leave_it(keeper, application):
    row, _ = ApiKey.objects.issue(application, name="production", scopes=["audit:read"])

    kept = keeper.post(page_of(row), {"name": "renamed", "scopes": ["audit:read", "chat"]})
    widened = keeper.post(page_of(row), {"name": "widened", "scopes": ["audit:read", "providers:write"]})

    row.refresh_from_db()
    assert (kept.status_code, widened.status_code) == (302, 200)
    assert (row.name, row.scopes) == ("renamed", ["audit:read", "chat"])

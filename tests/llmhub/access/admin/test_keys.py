from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from llmhub.access.admin.key_form import ApiKeyForm
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from providers.models import ProviderConfig
from providers.types import ModelInfo
from tests.people import member_of

pytestmark = pytest.mark.django_db

ADD = "/admin/access/apikey/add/"
LIST = "/admin/access/apikey/"


def issue(client: Client, application: Application, **fields: Any) -> Any:
    sent = {"application": application.pk, "name": "production", "scopes": ["chat", "audit:read"], "lifetime": "never"}
    return client.post(ADD, sent | fields)


def page_of(key: ApiKey) -> str:
    return reverse("admin:access_apikey_change", args=[key.pk])


def errors_of(answer: Any) -> Any:
    return answer.context["adminform"].form.errors


def test_a_new_key_is_shown_once_and_works(admin_client, application):
    issued = issue(admin_client, application)
    shown = admin_client.get(issued.headers["location"])

    secret, row = shown.context["secret"], ApiKey.objects.get()
    assert (issued.status_code, shown.status_code) == (302, 200)
    assert secret in shown.content.decode()
    assert "no-store" in shown.headers["cache-control"]
    assert ApiKey.objects.find_entry(secret) == row.entry()
    assert (row.application, row.scopes, row.expires_at) == (application, ["chat", "audit:read"], None)


def test_a_reload_shows_no_secret_and_issues_no_key(admin_client, application):
    page = issue(admin_client, application).headers["location"]
    secret = admin_client.get(page).context["secret"]

    again = admin_client.get(page, follow=True)

    assert again.redirect_chain == [(page_of(ApiKey.objects.get()), 302)]
    assert secret not in again.content.decode()
    assert "shown once" in str(*again.context["messages"])


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_whichever_button_makes_the_key_its_secret_is_shown(admin_client, application, button):
    answer = issue(admin_client, application, **{button: "1"})

    assert admin_client.get(answer.headers["location"]).context["secret"]


def test_only_who_issued_a_key_sees_its_secret(admin_client, application):
    page = issue(admin_client, application).headers["location"]

    another = member_of("Admin").get(page)
    statuses = [member_of("Operator").get(page).status_code, admin_client.head(page).status_code]

    assert another.headers["location"] == page_of(ApiKey.objects.get())
    assert statuses == [403, 405]
    assert admin_client.get(page).context["secret"]
    assert admin_client.get(f"{LIST}999/issued/").status_code == 404


def test_the_secret_is_kept_nowhere(admin_client, application):
    waiting = issue(admin_client, application)
    in_between = [session.get_decoded() for session in Session.objects.all()]
    secret = admin_client.get(waiting.headers["location"]).context["secret"]
    row = ApiKey.objects.get()

    pages = [admin_client.get(path).content.decode() for path in (LIST, page_of(row), f"{page_of(row)}history/", ADD)]
    stored = serializers.serialize("json", [*ApiKey.objects.all(), *LogEntry.objects.all()])
    sessions = [session.get_decoded() for session in Session.objects.all()]

    assert LogEntry.objects.count() == 1
    assert str(row.pk) not in sessions[0]["issued_keys"]
    for text in (*pages, stored, str(in_between), str(sessions), admin_client.cookies.output()):
        assert secret not in text
        assert secret[len(row.prefix) :] not in text


def test_a_new_key_comes_with_snippets_that_hold_it(admin_client, application):
    page = admin_client.get(issue(admin_client, application).headers["location"], headers={"host": "localhost:8312"})

    texts = [snippet.text for snippet in page.context["snippets"]]
    assert len(texts) == 4
    assert all(page.context["secret"] in text for text in texts)
    assert all("http://localhost:8312/" in text for text in texts)


def test_the_page_of_a_key_has_the_snippets_without_it(admin_client, application):
    key, secret = ApiKey.objects.issue(application, name="production", scopes=["chat"])

    page = admin_client.get(page_of(key)).content.decode()

    assert "Bearer YOUR_API_KEY" in page
    assert secret not in page


def test_a_key_needs_a_scope(admin_client, application):
    none = issue(admin_client, application, scopes=[])
    unknown = issue(admin_client, application, scopes=["root"])

    assert "scopes" in errors_of(none)
    assert "scopes" in errors_of(unknown)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("lifetime", "days"), [("30", 30), ("90", 90), ("365", 365)])
def test_a_key_ends_some_days_from_now_whatever_the_hidden_date_says(admin_client, application, lifetime, days):
    issue(admin_client, application, lifetime=lifetime, expires_at_0="2020-01-01", expires_at_1="nonsense")

    end = ApiKey.objects.get().expires_at
    assert abs(end - timezone.now() - timedelta(days=days)) < timedelta(minutes=1)


def test_a_key_ends_at_the_named_time(admin_client, application):
    issue(admin_client, application, lifetime="date", expires_at_0="2099-12-31", expires_at_1="23:30")

    assert f"{ApiKey.objects.get().expires_at:%Y-%m-%d %H:%M %Z}" == "2099-12-31 23:30 UTC"


@pytest.mark.parametrize(
    ("date", "words"),
    [
        pytest.param({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "in the past", id="past"),
        pytest.param({}, "Enter a date", id="none"),
    ],
)
def test_an_end_on_a_date_needs_one_that_is_to_come(admin_client, application, date, words):
    answer = issue(admin_client, application, lifetime="date", **date)

    assert words in str(errors_of(answer)["expires_at"])
    assert not ApiKey.objects.exists()


@pytest.fixture
def local() -> ProviderConfig:
    """A provider with two models, one of them switched off."""
    fields = {"provider_type": "custom", "base_url": "http://127.0.0.1:9/v1", "default_model": "smollm2"}
    row, _ = ProviderConfig.objects.register("local", fields)
    row.record_models([ModelInfo(name="smollm2"), ModelInfo(name="off")], now=timezone.now())
    row.models.filter(name="off").update(allowed=False)
    return row


def choices_of(client: Client, name: str, page: str = ADD) -> dict[str, str]:
    return dict(client.get(page).context["adminform"].form.fields[name].choices)


def test_providers_and_models_are_chosen_from_what_there_is(admin_client, application, local):
    assert list(choices_of(admin_client, "allowed_providers")) == ["local", "ollama"]
    models = ["local/smollm2", "ollama/llama3.2", "llama3.2", "smollm2"]
    assert list(choices_of(admin_client, "allowed_models")) == models

    issue(admin_client, application, allowed_providers=["local", "ollama"], allowed_models=["smollm2"])

    key = ApiKey.objects.get()
    assert (key.allowed_providers, key.allowed_models) == (["local", "ollama"], ["smollm2"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"allowed_providers": ["nope"]}, "nope is not one of the available choices"),
        ({"allowed_providers": ["local, ollama"]}, "not one of the available choices"),
        ({"allowed_models": ["local/nope"]}, "local/nope is not one of the available choices"),
        ({"allowed_models": ["local/off"]}, "not one of the available choices"),
        ({"allowed_providers": ["local"], "allowed_models": ["llama3.2"]}, "every chat with the key would be refused"),
    ],
)
def test_a_restriction_that_matches_nothing_is_refused(admin_client, application, local, fields, words):
    answer = issue(admin_client, application, **fields)

    assert words in str(errors_of(answer))
    assert not ApiKey.objects.exists()


def test_what_matches_nothing_any_more_is_said_and_may_stay(admin_client, application, local):
    allowed = {"allowed_providers": ["local"], "allowed_models": ["local/smollm2"]}
    row, _ = ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT], **allowed)
    before = admin_client.get(page_of(row)).content.decode()
    local.delete()

    page = admin_client.get(page_of(row)).content.decode()
    looked_at = member_of(permissions=("view_apikey",)).get(page_of(row)).content.decode()
    admin_client.post(page_of(row), {"name": "renamed", "scopes": ["chat"], "lifetime": "never", **allowed})

    assert "no match" not in before.lower()
    assert "local (no match)" in page
    assert "local, local/smollm2" in looked_at
    row.refresh_from_db()
    assert (row.name, row.allowed_providers, row.allowed_models) == ("renamed", ["local"], ["local/smollm2"])


def test_a_key_is_changed_without_changing_the_secret(admin_client, application, local):
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


def test_the_end_of_a_key_is_moved_and_an_old_one_may_stay(admin_client, application):
    past = timezone.now().replace(microsecond=0) - timedelta(days=1)
    row, _ = ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT], expires_at=past)
    dates = {"expires_at_0": f"{past:%Y-%m-%d}", "expires_at_1": f"{past:%H:%M:%S}"}

    admin_client.post(page_of(row), {"name": "renamed", "scopes": ["chat"], "lifetime": "date", **dates})
    kept = ApiKey.objects.get()
    admin_client.post(page_of(row), {"name": "renamed", "scopes": ["chat"], "lifetime": "30"})

    assert (kept.name, kept.expires_at) == ("renamed", past)
    assert ApiKey.objects.get().expires_at > timezone.now() + timedelta(days=29)


def test_a_form_writes_neither_back_that_a_key_was_not_revoked_nor_that_it_was_not_used(application):
    row, _ = ApiKey.objects.issue(application, name="production", scopes=[Scope.CHAT])
    form = ApiKeyForm({"name": "renamed", "scopes": ["chat"], "application": application.pk}, instance=row)
    form.grantable = frozenset(Scope)
    now = timezone.now()
    ApiKey.objects.update(revoked_at=now, last_used_at=now)

    assert form.is_valid()
    site.get_model_admin(ApiKey).save_model(RequestFactory().post("/"), form.instance, form, change=True)

    row = ApiKey.objects.get()
    assert (row.name, row.revoked_at, row.last_used_at) == ("renamed", now, now)


def test_staff_without_permission_sees_no_keys(application):
    key, _ = ApiKey.objects.issue(application, name="production", scopes=["chat"])
    nobody, reviewer = member_of(""), member_of("Reviewer")

    paths = (LIST, ADD, page_of(key), f"{LIST}revoke/?keys={key.pk}", f"{LIST}{key.pk}/revoke/")
    assert [nobody.get(path).status_code for path in paths] == [403] * 5
    assert [reviewer.get(path).status_code for path in paths] == [403] * 5


def test_an_operator_sees_keys_and_neither_adds_nor_changes_them(application):
    key, _ = ApiKey.objects.issue(application, name="production", scopes=["chat"])
    operator = member_of("Operator")

    statuses = [operator.get(path).status_code for path in (LIST, page_of(key), ADD)]
    changed = operator.post(page_of(key), {"name": "mine", "scopes": ["chat"]})
    added = issue(operator, application, scopes=["chat"])

    assert statuses == [200, 200, 403]
    assert (changed.status_code, added.status_code) == (403, 403)
    assert [k.name for k in ApiKey.objects.all()] == ["production"]


def test_an_admin_of_the_group_issues_keys(application):
    assert issue(member_of("Admin"), application, scopes=list(Scope)).status_code == 302
    assert ApiKey.objects.get().scopes == list(Scope)


def test_nobody_deletes_a_key(admin_client, application):
    key, _ = ApiKey.objects.issue(application, name="production", scopes=["chat"])

    sent = {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"}
    admin_client.post(LIST, sent)

    assert admin_client.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ApiKey.objects.exists()


@pytest.fixture
def keeper(db: None) -> Client:
    """Someone who may do everything with keys, and of what keys allow nothing but chat."""
    return member_of(permissions=("add_apikey", "change_apikey", "view_apikey", "view_application", "use_chat"))


def test_nobody_gives_a_key_more_than_they_have(keeper, application):
    refused = issue(keeper, application, scopes=["chat", "audit:read"])
    issued = issue(keeper, application, scopes=["chat"])

    assert "audit:read" in str(errors_of(refused)["scopes"])
    assert issued.status_code == 302
    assert ApiKey.objects.get().scopes == ["chat"]


def test_what_a_key_has_already_others_may_leave_it(keeper, application):
    row, _ = ApiKey.objects.issue(application, name="production", scopes=["audit:read"])

    kept = keeper.post(page_of(row), {"name": "renamed", "scopes": ["audit:read", "chat"]})
    widened = keeper.post(page_of(row), {"name": "widened", "scopes": ["audit:read", "providers:write"]})

    row.refresh_from_db()
    assert (kept.status_code, widened.status_code) == (302, 200)
    assert (row.name, row.scopes) == ("renamed", ["audit:read", "chat"])

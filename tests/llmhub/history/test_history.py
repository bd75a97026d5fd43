"""The History tab: who changed what, from what to what."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.celery import app
from llmhub.history.describe import OUTSIDE, DescribedChange, Kind, describe, find_event_model, newest_first
from llmhub.history.install import install_history
from llmhub.history.tab import PAGE_SIZE, HistoryTab
from providers.models import ProviderConfig, ProviderModel
from tests.clients import client_with
from tests.people import make_staff, signed_in

pytestmark = pytest.mark.django_db

CANARY = "sk-canary-4711"
TRACKED = (
    *(ProviderConfig, ProviderModel, Application, ApiKey, User, Group, Authenticator),
    *(PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule),
)


def changes_of(row: Any) -> list[DescribedChange]:
    return describe(newest_first(type(row), row.pk, offset=0, limit=100), of=type(row))


def told(change: DescribedChange) -> dict[str, tuple[str | None, str | None]]:
    return {field.name: (field.before, field.after) for field in change.fields}


def history_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_history", args=[row.pk])


@pytest.fixture
def application() -> Application:
    return Application.objects.create(name="support-bot")


@pytest.fixture
def provider() -> ProviderConfig:
    return ProviderConfig.objects.get()


@pytest.mark.parametrize("model", TRACKED, ids=lambda model: model.__name__)
def test_every_tracked_model_has_the_tab(model):
    assert find_event_model(model) is not None
    assert isinstance(admin.site._registry[model], HistoryTab)


def test_a_form_leaves_who_where_and_both_values(admin_client, application):
    form = f"/admin/access/application/{application.pk}/change/"
    admin_client.post(form, {"name": "support-bot", "description": "Ask Ann", "is_active": "on"})

    change, added = changes_of(application)

    assert (change.kind, change.actor, change.through) == (Kind.CHANGED, "admin", f"admin page {form}")
    assert told(change) == {"Description": ("–", "Ask Ann")}
    assert (added.kind, told(added)["Name"]) == (Kind.ADDED, (None, "support-bot"))
    assert "Description" not in told(added)


def update(application: Application) -> None:
    Application.objects.update(is_active=False)


def update_in_bulk(application: Application) -> None:
    application.is_active = False
    Application.objects.bulk_update([application], ["is_active"])


def write_sql(application: Application) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE access_application SET is_active = false")


@pytest.mark.parametrize("change", [update, update_in_bulk, write_sql])
def test_what_no_request_changed_is_told_too(application, change):
    change(application)

    newest = changes_of(application)[0]

    assert (newest.actor, newest.through) == (OUTSIDE, "database login postgres")
    assert told(newest) == {"Enabled": ("yes", "no")}


@pytest.mark.django_db(transaction=True)
def test_what_follows_a_request_is_not_said_to_be_its_own(admin_client, application):
    form = f"/admin/access/application/{application.pk}/change/"
    admin_client.post(form, {"name": "support-bot", "description": "Ask Ann", "is_active": "on"})
    write_sql(application)

    assert [change.actor for change in changes_of(application)] == [OUTSIDE, "admin", OUTSIDE]


def test_a_key_speaks_for_its_application(provider):
    client = client_with(Scope.PROVIDERS_WRITE)
    client.patch("/api/providers/ollama", {"priority": 7}, format="json")

    change = changes_of(provider)[0]

    assert change.actor.startswith("tester (lh_")
    assert change.through == "API /api/providers/ollama"
    assert told(change)["Priority"][1] == "7"


def test_a_task_is_named(provider, upstream):
    app.loader.import_default_modules()
    ProviderConfig.objects.update(provider_type="custom", base_url=upstream.url)
    app.tasks["providers.tasks.refresh_models"].apply()

    ProviderConfig.objects.update(priority=9)
    models = [changes_of(row)[0] for row in ProviderModel.objects.all()]

    assert {change.actor for change in models} == {"task providers.tasks.refresh_models"}
    assert {change.through for change in models} == {"background work"}


@pytest.mark.django_db(transaction=True)
def test_a_providers_key_is_only_said_to_have_changed(admin_client, provider):
    for key in (CANARY, CANARY + "x", ""):
        provider.api_key = key
        provider.save()

    words = [told(change)["API key"] for change in changes_of(provider)[:3]]
    page = admin_client.get(history_url(provider)).content.decode()

    assert words == [(None, "removed"), (None, "changed"), (None, "set")]
    assert CANARY not in page


def test_a_key_that_is_encrypted_again_is_told_by_the_command(provider, settings):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.SECRET_KEYS = [old]
    provider.api_key = CANARY
    provider.save()
    settings.SECRET_KEYS = [new, old]

    call_command("rotate_secrets", stdout=StringIO())

    change = changes_of(provider)[0]
    assert (change.actor, change.through) == ("command rotate_secrets", "background work")
    assert told(change)["API key"] == (None, "changed")


def test_a_password_is_only_said_to_have_changed(admin_client):
    user = User.objects.create_user("ann")
    user.set_password(CANARY)
    user.save()

    page = admin_client.get(history_url(user)).content.decode()

    assert told(changes_of(user)[0])["Password"] == (None, "changed")
    assert CANARY not in page
    assert user.password not in page


def test_who_took_a_second_factor_is_told_and_its_secret_is_not(admin_client):
    bob = User.objects.create_user("bob")
    factor = Authenticator.objects.create(user=bob, type="totp", data={"secret": CANARY})
    Authenticator.objects.filter(pk=factor.pk).update(last_used_at=timezone.now())
    chosen = {"action": "reset_two_factor", "_selected_action": [bob.pk]}
    admin_client.post("/admin/auth/user/", chosen)

    gone, added = describe(newest_first(Authenticator, factor.pk, offset=0, limit=9))
    page = admin_client.get(history_url(factor)).content.decode()

    assert (gone.kind, gone.actor, gone.subject) == (Kind.DELETED, "admin", "bob · TOTP Authenticator")
    assert (added.kind, CANARY in page) == (Kind.ADDED, False)


def test_when_tasks_run_is_told_as_it_was_called():
    interval = IntervalSchedule.objects.create(every=10, period="seconds")
    IntervalSchedule.objects.filter(pk=interval.pk).update(every=99)

    changed, added = changes_of(interval)

    assert (added.subject, changed.subject) == ("every 10 seconds", "every 99 seconds")
    assert list(told(changed).values()) == [("10", "99")]


def test_a_sign_in_is_no_change():
    user = User.objects.create_user("ann", password=CANARY)
    Client().login(username="ann", password=CANARY)

    assert [change.kind for change in changes_of(user)] == [Kind.ADDED]


@pytest.mark.django_db(transaction=True)
def test_what_one_form_did_is_one_change(admin_client):
    user, group = User.objects.create_user("ann"), Group.objects.get(name="Reviewer")
    form = reverse("admin:auth_user_change", args=[user.pk])
    admin_client.post(form, {"username": "bea", "is_active": "on", "groups": [group.pk]})

    change, added = admin_client.get(history_url(user)).context["changes"]

    assert (change.kind, added.kind) == (Kind.CHANGED, Kind.ADDED)
    assert told(change) == {"Username": ("ann", "bea"), "Group": (None, "Reviewer")}


def test_memberships_and_permissions_are_told_from_both_sides():
    user, group = User.objects.create_user("ann"), Group.objects.create(name="Readers")
    permission = Permission.objects.get(codename="view_chat")
    group.permissions.add(permission)
    user.groups.add(group)
    user.groups.remove(group)

    of_group = [told(change) for change in describe(newest_first(Group, group.pk, offset=0, limit=9), of=Group)]
    of_user = [told(change) for change in describe(newest_first(User, user.pk, offset=0, limit=9), of=User)]

    assert {"Group": ("Readers", None)} in of_user
    assert {"User": (None, "ann")} in of_group
    assert {"Permission": (None, str(permission))} in of_group


def test_values_are_told_as_people_call_them(application):
    key, _ = ApiKey.objects.issue(application, name="first", scopes=[Scope.CHAT, Scope.AUDIT_READ])
    ApiKey.objects.update(expires_at=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC))

    change = changes_of(key)[0]

    assert told(change)["Expires at"] == ("–", "2 Jan 2027, 03:04:05 UTC")


def test_what_is_gone_is_called_as_it_was_last(application):
    key, _ = ApiKey.objects.issue(application, name="first", scopes=[Scope.CHAT])
    application.delete()

    deleted, added = changes_of(key)

    assert (deleted.kind, deleted.subject) == (Kind.DELETED, "support-bot · first")
    assert told(deleted)["Scopes"] == ("Chat and list models", None)
    assert told(added)["Application"] == (None, "support-bot")


def test_the_history_of_what_is_deleted_stays_readable(admin_client, application):
    url = history_url(application)
    application.delete()

    page = admin_client.get(url)

    assert page.status_code == 200
    assert "Application support-bot was deleted. Its history is kept." in page.content.decode()
    assert [change.kind for change in page.context["changes"]] == [Kind.DELETED, Kind.ADDED]


@pytest.mark.parametrize("pk", ["4711", "nothing"])
def test_what_never_was_has_no_history(admin_client, pk):
    answer = admin_client.get(reverse("admin:access_application_history", args=[pk]))

    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")


def test_the_history_is_for_who_may_see_the_object(application):
    user = make_staff()
    client = signed_in(user)
    refused = client.get(history_url(application)).status_code
    user.user_permissions.add(Permission.objects.get(codename="view_application"))

    assert (refused, client.get(history_url(application)).status_code) == (403, 200)


def test_a_long_history_is_paged_the_newest_first(admin_client, application):
    for number in range(PAGE_SIZE + 4):
        Application.objects.update(description=str(number))
    url = history_url(application)

    first, second = (admin_client.get(url, {"page": page}).context for page in ("1", "2"))

    assert (first["has_next"], second["has_next"]) == (True, False)
    refs = newest_first(Application, application.pk, offset=0, limit=2)
    assert told(describe(refs)[0])["Description"] == (str(PAGE_SIZE + 2), str(PAGE_SIZE + 3))


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "99999999999"])
def test_an_odd_page_number_is_the_first(admin_client, application, page):
    assert admin_client.get(history_url(application), {"page": page}).context["page"] == 1


def test_a_hundred_changes_cost_no_more_queries_than_one(admin_client, django_assert_max_num_queries):
    user = User.objects.create_user("ann")
    for number in range(100):
        User.objects.filter(pk=user.pk).update(last_name=str(number))
        user.groups.set([Group.objects.all()[number % 3]])

    with django_assert_max_num_queries(14):
        admin_client.get(history_url(user))


def test_what_was_there_before_has_something_to_differ_from(provider):
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE providers_providerconfigevent")
        cursor.execute("DROP TRIGGER history_note ON providers_providerconfig")
    install_history(using=connection.alias)
    ProviderConfig.objects.update(priority=provider.priority + 1)

    change, found = describe(newest_first(ProviderConfig, provider.pk, offset=0, limit=9))

    assert (found.kind, told(found)["Name"]) == (Kind.FOUND, (None, "ollama"))
    assert told(change) == {"Priority": (str(provider.priority), str(provider.priority + 1))}


@pytest.mark.parametrize("statement", ["UPDATE {} SET pgh_label = 'x'", "DELETE FROM {}"])
def test_nobody_rewrites_the_history_not_even_its_owner(application, statement):
    table = find_event_model(Application)._meta.db_table

    with pytest.raises(ProgrammingError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


def test_both_tabs_are_on_both_pages(admin_client, provider):
    for page in (reverse("admin:providers_providerconfig_change", args=[provider.pk]), history_url(provider)):
        content = admin_client.get(page).content.decode()

        assert f'href="{history_url(provider)}"' in content

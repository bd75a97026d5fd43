"""The list of all changes of the configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from llmhub.access.models import Application
from llmhub.history.describe import event_models
from llmhub.history.models import Change
from providers.models import ProviderConfig
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/history/change/"


def rows(client: Client, **query: str) -> list[tuple[str, str, str]]:
    """What the list shows: of which model, what, and what it was called."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return [(row.model, row.kind, row.described.subject) for row in answer.context["cl"].result_list]


@pytest.fixture
def some_changes(admin_client: Client) -> None:
    Application.objects.create(name="bot").delete()
    ProviderConfig.objects.create(name="acme", provider_type="openai")
    admin_client.post("/admin/access/application/add/", {"name": "shop", "description": "", "is_active": "on"})


def test_the_list_holds_every_table_of_events():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_viewdef('history_change'::regclass)")
        definition = cursor.fetchone()[0]

    missing = [model._meta.label for model in event_models() if f"'{model._meta.label}'" not in definition]

    assert missing == []


def test_changes_are_found_by_what_who_and_how(admin_client, some_changes):
    applications = rows(admin_client, model="access.Application")

    assert {row[0] for row in applications} == {"access.Application"}
    (newest, *older) = rows(admin_client, model="access.Application", kind="deleted")
    assert newest == ("access.Application", "deleted", "bot")
    assert {row[:2] for row in older} <= {("access.Application", "deleted")}
    assert ("access.Application", "added", "shop") in rows(admin_client, actor="admin")
    assert ("providers.ProviderConfig", "added", "acme") not in rows(admin_client, actor="admin")


@pytest.mark.parametrize("day", ["2100-01-31", "31/01/2100"])
def test_changes_are_found_by_time(admin_client, some_changes, day):
    assert rows(admin_client, at_from_0=day) == []
    assert rows(admin_client, at_to_0=day, at_to_1="12:00:00") != []


def test_a_time_that_is_none_is_passed_over(admin_client, some_changes):
    assert rows(admin_client, at_from_0="soon", at_to_1="12:00:00") != []


def test_a_change_leads_to_the_history_of_what_is_gone(admin_client, some_changes):
    change = Change.objects.filter(model="access.Application", kind="deleted").latest("at")

    page = admin_client.get(reverse("admin:history_change_change", args=[change.pk]), follow=True)

    assert page.redirect_chain[0][0] == reverse("admin:access_application_history", args=[change.object_id])
    assert "Application bot was deleted" in page.content.decode()


def test_of_a_long_change_the_list_shows_the_beginning(admin_client):
    ProviderConfig.objects.create(name="acme", provider_type="openai", base_url="http://localhost:1/v1")

    page = admin_client.get(LIST, {"model": "providers.ProviderConfig", "kind": "added"}).content.decode()

    assert "http://localhost:1/v1" in page
    assert "Timeout" not in page
    assert re.search(r"and \d more", page)


def test_only_changes_of_what_one_may_see_are_listed(some_changes):
    client = member_of(permissions=("view_providerconfig",))
    hidden = Change.objects.filter(model="access.Application").first()

    shown = {model for model, _, _ in rows(client)}

    assert shown == {"providers.ProviderConfig"}
    assert client.get(reverse("admin:history_change_change", args=[hidden.pk])).status_code == 404


def test_nobody_adds_changes_or_deletes_a_change(admin_client, some_changes):
    change = Change.objects.first()
    urls = [reverse("admin:history_change_add"), reverse("admin:history_change_delete", args=[change.pk])]

    assert [admin_client.post(url, {"post": "yes"}).status_code for url in urls] == [403, 403]


def test_a_hundred_changes_cost_no_more_queries_than_one(admin_client, django_assert_max_num_queries: Any):
    for number in range(30):
        user = User.objects.create_user(f"user{number}")
        user.groups.add(Group.objects.all()[number % 3])
        Application.objects.create(name=f"app{number}").delete()
        ProviderConfig.objects.update(priority=number)

    with django_assert_max_num_queries(30):
        assert len(rows(admin_client)) == 25


def test_the_newest_changes_are_found_without_reading_all():
    newest = Change.objects.filter(model__in=["auth.User", "providers.ProviderConfig"])[:26]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = newest.explain()

    assert "Merge Append" in plan
    assert "on people_trackeduserevent" in plan
    assert "Index Scan Backward" in plan

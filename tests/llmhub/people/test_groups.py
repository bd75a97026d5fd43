"""Groups in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/auth/group/"


@pytest.fixture
def ann_client() -> Client:
    """A team admin's."""
    return member_of("Admin")


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_a_group_is_given_what_its_maker_has(ann_client):
    ann_client.post(f"{LIST}add/", {"name": "Readers", "permissions": [permission("view_chat").pk]})

    assert list(Group.objects.get(name="Readers").permissions.all()) == [permission("view_chat")]


def test_a_group_is_not_given_what_its_maker_lacks(ann_client):
    answer = ann_client.post(f"{LIST}add/", {"name": "Keepers", "permissions": [permission("delete_apikey").pk]})

    errors = answer.context["adminform"].form.errors
    assert errors == {"permissions": ["You cannot grant permissions that you do not have: Can delete API key."]}
    assert not Group.objects.filter(name="Keepers").exists()


def test_nobody_widens_the_group_they_are_in(ann_client):
    group = Group.objects.get(name="Admin")
    chosen = [*group.permissions.values_list("pk", flat=True), permission("delete_apikey").pk]

    ann_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "Admin", "permissions": chosen})

    assert permission("delete_apikey") not in group.permissions.all()


def test_what_a_group_had_before_may_stay(ann_client):
    group = Group.objects.create(name="Keepers")
    group.permissions.add(permission("delete_apikey"))
    chosen = [permission("delete_apikey").pk, permission("view_chat").pk]

    ann_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "Keepers", "permissions": chosen})

    assert set(group.permissions.all()) == {permission("delete_apikey"), permission("view_chat")}


def test_the_list_counts_users_and_permissions(ann_client):
    group = Group.objects.create(name="Readers")
    group.permissions.add(permission("view_chat"))

    rows = {row.name: (row.users, row.granted) for row in ann_client.get(LIST).context["cl"].result_list}

    assert rows["Readers"] == (0, 1)
    assert rows["Admin"][0] == 1


def test_deleting_a_group_counts_what_it_gave(admin_client):
    group = Group.objects.get(name="Admin")

    page = admin_client.get(reverse("admin:auth_group_delete", args=[group.pk])).content.decode()

    assert "Group_permissions object" not in page
    assert f"Group-permission relationships: {group.permissions.count()}" in page


def test_many_groups_cost_no_more_queries_than_one(ann_client, django_assert_max_num_queries):
    for number in range(95):
        Group.objects.create(name=f"group{number}")

    with django_assert_max_num_queries(14):
        ann_client.get(LIST)


def test_the_form_costs_few_queries(ann_client, django_assert_max_num_queries):
    group = Group.objects.get(name="Admin")

    with django_assert_max_num_queries(20):
        ann_client.get(reverse("admin:auth_group_change", args=[group.pk]))

"""Users in the admin: nobody makes themselves, or anybody else, more than they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from llmhub.access.granting import may_manage
from llmhub.people.admin.permission_choices import assignable_permissions
from tests.people import make_staff, signed_in

pytestmark = pytest.mark.django_db

LIST = "/admin/auth/user/"
PASSWORD = "correct-horse-4711"


def form(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def save(client: Client, user: User, **changes: Any) -> Any:
    """Send the form as it stands, but for these changes."""
    shown = client.get(form(user))
    if shown.status_code != 200:
        return client.post(form(user), changes)
    fields = shown.context["adminform"].form
    sent = {name: fields[name].value() for name in fields.fields if name != "password"} | changes
    return client.post(form(user), {name: value for name, value in sent.items() if value not in (None, False, "")})


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", password=PASSWORD)


@pytest.fixture
def ann(boss: User) -> User:
    """A team admin."""
    return make_staff("ann", group="Admin")


@pytest.fixture
def bob() -> User:
    user = User.objects.create_user("bob", is_staff=True, email="bob@example.com", first_name="Bob")
    user.groups.add(Group.objects.get(name="Reviewer"))
    return user


def test_a_team_admin_manages_who_may_do_no_more(ann, bob):
    operator = Group.objects.get(name="Operator")

    save(signed_in(ann), bob, groups=[operator.pk], first_name="Robert")

    bob.refresh_from_db()
    assert (bob.first_name, list(bob.groups.all())) == ("Robert", [operator])


def test_only_superusers_make_superusers(ann, bob, boss):
    save(signed_in(ann), bob, is_superuser="on")
    after_ann = User.objects.get(pk=bob.pk).is_superuser
    save(signed_in(boss), bob, is_superuser="on")

    assert (after_ann, User.objects.get(pk=bob.pk).is_superuser) == (False, True)


def test_a_team_admin_does_not_make_a_superuser_of_a_new_user(ann):
    signed_in(ann).post(
        "/admin/auth/user/add/",
        {"username": "eve", "password1": PASSWORD, "password2": PASSWORD, "is_superuser": "on"},
    )

    eve = User.objects.get(username="eve")
    assert (eve.is_superuser, eve.is_staff, eve.check_password(PASSWORD)) == (False, False, True)


@pytest.fixture(params=["superuser", "more", "switched-off"])
def above(request: pytest.FixtureRequest, ann: User) -> User:
    """Somebody who may do more than a team admin, now or once switched on again."""
    if request.param == "superuser":
        return User.objects.create_superuser("root2", password=PASSWORD)
    user = User.objects.create_user("more", password=PASSWORD, is_active=request.param == "more")
    user.user_permissions.add(Permission.objects.get(codename="delete_apikey"))
    return user


def test_who_may_do_more_is_neither_edited_nor_deleted(ann, above):
    client = signed_in(ann)

    edited = save(client, above, username="gone", is_active="on")
    deleted = client.post(reverse("admin:auth_user_delete", args=[above.pk]), {"post": "yes"})
    client.post(LIST, {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes"})

    assert (edited.status_code, deleted.status_code) == (403, 403)
    assert User.objects.get(pk=above.pk).username == above.username


def test_the_password_of_who_may_do_more_is_not_set(ann, above):
    url = reverse("admin:auth_user_password_change", args=[above.pk])
    sent = {"password1": "another-4711-word", "password2": "another-4711-word", "usable_password": "true"}

    answers = [signed_in(ann).get(url).status_code, signed_in(ann).post(url, sent).status_code]

    assert answers == [403, 403]
    assert User.objects.get(pk=above.pk).check_password(PASSWORD)


def test_a_team_admin_sets_the_password_of_others(ann, bob):
    url = reverse("admin:auth_user_password_change", args=[bob.pk])
    page = signed_in(ann).get(url).content.decode()

    signed_in(ann).post(url, {"password1": PASSWORD, "password2": PASSWORD})

    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)
    assert "at least 8 characters" in page


def test_nobody_gives_permissions_beyond_their_own(ann, bob):
    beyond, own = Permission.objects.get(codename="delete_apikey"), Permission.objects.get(codename="view_chat")

    refused = save(signed_in(ann), bob, user_permissions=[beyond.pk])
    accepted = save(signed_in(ann), bob, user_permissions=[own.pk])

    assert refused.context["adminform"].form.errors == {
        "user_permissions": ["You cannot grant permissions that you do not have: Can delete API key."]
    }
    assert accepted.status_code == 302
    assert list(bob.user_permissions.all()) == [own]


def test_nobody_gives_a_group_that_may_do_more(ann, bob):
    keepers = Group.objects.create(name="Keepers")
    keepers.permissions.add(Permission.objects.get(codename="delete_apikey"))

    refused = [save(signed_in(ann), user, groups=[keepers.pk]) for user in (bob, ann)]

    for answer in refused:
        errors = answer.context["adminform"].form.errors
        assert errors == {"groups": ["You cannot grant permissions that you do not have: Keepers."]}
    assert not keepers.user_set.exists()


@pytest.mark.parametrize("who", ["ann", "boss"])
def test_nobody_deletes_or_switches_off_themselves(who, ann, boss):
    me = {"ann": ann, "boss": boss}[who]
    client = signed_in(me)

    save(client, me, is_active="", is_staff="", first_name="Me")
    deleted = client.post(reverse("admin:auth_user_delete", args=[me.pk]), {"post": "yes"})
    client.post(LIST, {"action": "delete_selected", "_selected_action": [me.pk], "post": "yes"})

    me.refresh_from_db()
    assert (me.first_name, me.is_active, me.is_staff, deleted.status_code) == ("Me", True, True, 403)


@pytest.mark.django_db(transaction=True)
def test_of_two_superusers_who_remove_each_other_one_stays(boss):
    other = User.objects.create_superuser("other")
    pairs = [(signed_in(boss), other), (signed_in(other), boss)]

    def switch_off(pair: tuple[Client, User]) -> None:
        try:
            save(pair[0], pair[1], is_active="")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(switch_off, pairs))

    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_several_users_are_deleted_at_once(boss):
    others = [User.objects.create_user(name) for name in ("cat", "dan")]
    chosen = {"action": "delete_selected", "_selected_action": [user.pk for user in others], "post": "yes"}

    answer = signed_in(boss).post(LIST, chosen)

    assert answer.status_code == 302
    assert list(User.objects.all()) == [boss]


def test_a_second_factor_is_reset_with_its_recovery_codes(ann, bob):
    for kind in ("totp", "recovery_codes"):
        Authenticator.objects.create(user=bob, type=kind, data={})
    chosen = {"action": "reset_two_factor", "_selected_action": [bob.pk]}

    answer = signed_in(ann).post(LIST, chosen, follow=True)

    assert not Authenticator.objects.exists()
    assert next(str(message) for message in answer.context["messages"]).startswith("1 reset")


def test_the_second_factor_of_who_may_do_more_stays(ann, above):
    Authenticator.objects.create(user=above, type="totp", data={})
    chosen = {"action": "reset_two_factor", "_selected_action": [above.pk]}

    answer = signed_in(ann).post(LIST, chosen, follow=True)

    assert Authenticator.objects.count() == 1
    assert [str(m) for m in answer.context["messages"]][1] == "1 skipped: they have more permissions than you."


def test_nor_is_it_taken_by_the_page_of_second_factors(ann, above):
    factor = Authenticator.objects.create(user=above, type="totp", data={})
    client = signed_in(ann)

    one = client.post(reverse("admin:mfa_authenticator_delete", args=[factor.pk]), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [factor.pk], "post": "yes"}
    client.post(reverse("admin:mfa_authenticator_changelist"), chosen)

    assert one.status_code == 403
    assert Authenticator.objects.count() == 1


def test_the_list_tells_groups_standing_second_factor_and_last_sign_in(ann, bob, boss):
    Authenticator.objects.create(user=bob, type="totp", data={"secret": "canary-4711"})

    page = signed_in(boss).get(LIST).content.decode()

    for words in ("Reviewer", "superuser", "staff", "never"):
        assert words in page
    assert "canary-4711" not in page


def test_one_may_always_edit_oneself(ann, boss):
    assert may_manage(ann, ann)
    assert may_manage(boss, ann)
    assert not may_manage(ann, boss)


def test_only_what_the_admin_asks_for_can_be_picked():
    apps = set(assignable_permissions().values_list("content_type__app_label", flat=True))
    codenames = set(assignable_permissions().values_list("codename", flat=True))

    assert apps <= {"access", "auth", "chat", "django_celery_beat", "ledger", "mfa", "providers"}
    assert {"view_chat", "use_chat", "add_providerconfig"} <= codenames
    assert not {"add_chat", "change_healthcheck", "view_session", "view_solarschedule", "view_logentry"} & codenames
    assert not any("event" in name and name != "view_ledgerevent" for name in codenames)

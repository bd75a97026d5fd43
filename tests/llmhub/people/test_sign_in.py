from __future__ import annotations

import logging

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import NoReverseMatch, reverse

pytestmark = pytest.mark.django_db

PASSWORD = "canary-password-4711"
LOGIN = "/accounts/login/"
UNWANTED = (
    "signup/",
    "email/",
    "confirm-email/",
    "confirm-email/key/",
    "password/change/",
    "password/set/",
    "password/reset/",
    "password/reset/key/1-abc/",
    "password/reset/done/",
    "login/code/",
    "login/code/confirm/",
    "phone/verify/",
    "2fa/webauthn/",
    "2fa/trust/",
    "3rdparty/",
    "",
)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password=PASSWORD, is_staff=True)


def sign_in(client, *, username="ann", password=PASSWORD, url=LOGIN, **fields):
    return client.post(url, {"login": username, "password": password, **fields})


def test_the_admin_asks_who_one_is_and_leads_back(client, ann):
    asked = client.get("/admin/auth/user/", follow=True)

    entered = sign_in(client, next="/admin/auth/user/")

    assert asked.redirect_chain[-1][0] == "/accounts/login/?next=%2Fadmin%2Fauth%2Fuser%2F"
    assert 'name="next" value="/admin/auth/user/"' in asked.content.decode()
    assert (entered.status_code, entered.headers["location"]) == (302, "/admin/auth/user/")


def test_the_admins_own_login_checks_no_password(client, ann):
    answer = client.post("/admin/login/", {"username": "ann", "password": PASSWORD})

    assert answer.headers["location"].startswith(LOGIN)
    assert "_auth_user_id" not in client.session


def test_a_signed_in_user_cannot_try_passwords_at_the_admins_login(client, ann):
    client.force_login(ann)
    User.objects.create_superuser("root", password=PASSWORD)

    answer = client.post("/admin/login/", {"username": "root", "password": PASSWORD})

    assert answer.headers["location"] == "/admin/"
    assert client.session["_auth_user_id"] == str(ann.pk)


@pytest.mark.parametrize("path", ["/admin/login/", LOGIN])
@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "http://localhost/"],
)
def test_nobody_is_sent_on_to_another_host(client, ann, path, elsewhere):
    client.force_login(ann)

    answer = client.get(path, {"next": elsewhere})

    assert answer.headers["location"] == "/admin/"


def test_nobody_is_sent_on_to_another_host_by_signing_in(client, ann):
    answer = sign_in(client, next="https://evil.example/")

    assert answer.headers["location"] == "/admin/"


@pytest.mark.parametrize("path", UNWANTED)
@pytest.mark.parametrize("is_signed_in", [False, True], ids=["stranger", "staff"])
def test_pages_that_nobody_wants_are_not_there(client, ann, path, is_signed_in):
    if is_signed_in:
        client.force_login(ann)

    assert client.get(f"/accounts/{path}").status_code == 404
    assert client.post(f"/accounts/{path}").status_code == 404


@pytest.mark.parametrize("name", ["account_signup", "account_reset_password", "mfa_add_webauthn"])
def test_pages_that_nobody_wants_have_no_name_either(name):
    with pytest.raises(NoReverseMatch):
        reverse(name)


def test_a_wrong_password_is_told_as_an_unknown_user_is(client, ann):
    wrong = sign_in(client, password="wrong")
    unknown = sign_in(client, username="bob", password="wrong")

    pages = [answer.content.decode() for answer in (wrong, unknown)]
    assert [answer.status_code for answer in (wrong, unknown)] == [200, 200]
    assert all('id="form-error" role="alert">The username or the password is wrong.' in page for page in pages)
    assert all('aria-describedby="form-error"' in page and "<title>Error: Sign in" in page for page in pages)


def test_a_failed_attempt_is_logged_by_address_alone(client, ann, caplog):
    with caplog.at_level(logging.WARNING):
        sign_in(client, username="canary-user", password="canary-typed")

    assert caplog.messages == ["A sign-in from 127.0.0.1 failed: wrong password."]


def test_who_is_not_staff_is_told_so_and_can_sign_out(client):
    User.objects.create_user("eve", password=PASSWORD)

    answer = client.post(LOGIN, {"login": "eve", "password": PASSWORD}, follow=True)
    left = client.post("/accounts/logout/", follow=True)

    page = answer.content.decode()
    assert [path for path, _ in answer.redirect_chain] == ["/admin/", "/admin/login/?next=/admin/"]
    assert answer.status_code == 403
    assert "This account may not use the admin" in page
    assert 'action="/accounts/logout/"' in page
    assert "You are signed out." in left.content.decode()


def test_who_is_not_staff_gets_no_further_than_that(client):
    client.force_login(User.objects.create_user("eve"))

    answer = client.get("/accounts/2fa/", follow=True)

    assert answer.status_code == 403


def test_an_account_that_is_switched_off_is_told_to_its_owner_alone(client, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)

    owner = client.post(LOGIN, {"login": "ann", "password": PASSWORD}, follow=True)
    guesser = sign_in(client, password="wrong")

    assert "This account is disabled" in owner.content.decode()
    assert "The username or the password is wrong." in guesser.content.decode()
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("path", ["/admin/logout/", "/accounts/logout/"])
def test_signing_out_is_a_post(client, ann, path):
    client.force_login(ann)

    asked = client.get(path)
    is_still_in = "_auth_user_id" in client.session
    client.post(path)

    assert (asked.status_code, is_still_in) == (405, True)
    assert "_auth_user_id" not in client.session


def test_signing_in_needs_the_csrf_token(ann):
    answer = sign_in(Client(enforce_csrf_checks=True))

    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()


def test_a_session_gets_a_new_key_and_lasts_half_a_day(client, ann):
    before = client.get(LOGIN).client.session
    before.save()
    client.cookies["sessionid"] = before.session_key

    answer = sign_in(client)

    cookie = answer.cookies["sessionid"]
    assert cookie.value != before.session_key
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (12 * 3600, True, "Lax")


def test_a_changed_password_ends_the_other_sessions(client, ann):
    other = Client()
    sign_in(client)
    sign_in(other)
    passwords = {"old_password": PASSWORD, "new_password1": "another-4712-x", "new_password2": "another-4712-x"}

    changed = client.post("/admin/password_change/", passwords)

    assert changed.headers["location"] == "/admin/password_change/done/"
    assert client.get("/admin/").status_code == 200
    assert other.get("/admin/").headers["location"] == "/admin/login/?next=/admin/"


def test_the_user_menu_leads_to_password_and_second_factor(client, ann):
    client.force_login(ann)

    page = client.get("/admin/").content.decode()

    assert 'href="/admin/password_change/"' in page
    assert 'href="/accounts/2fa/"' in page


def test_what_is_wrong_with_a_password_is_tied_to_its_field(client, ann):
    client.force_login(ann)

    page = client.post("/admin/password_change/", {"old_password": "wrong"}).content.decode()

    assert 'aria-describedby="id_old_password_error"' in page
    assert 'id="id_old_password_error"' in page
    assert 'id="id_new_password1_helptext"' in page

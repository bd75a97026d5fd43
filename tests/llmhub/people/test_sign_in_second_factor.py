from __future__ import annotations

import logging
import re
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from time_machine import travel

from tests.authenticator_app import code_at
from tests.people import member_of

pytestmark = pytest.mark.django_db

PASSWORD = "canary-password-4711"
NOW_S = 1_900_000_000
SET_UP = "/accounts/2fa/totp/activate/"
CODES = "/accounts/2fa/recovery-codes/"
ASKED = "/accounts/2fa/authenticate/"


@pytest.fixture(autouse=True)
def standing_clock():
    with travel(NOW_S, tick=False) as clock:
        yield clock


@pytest.fixture(autouse=True)
def ann() -> User:
    cache.clear()
    return User.objects.create_user("ann", password=PASSWORD, is_staff=True)


def sign_in(client):
    return client.post("/accounts/login/", {"login": "ann", "password": PASSWORD})


def confirm(client, next_url):
    """Say again who one is, as is asked before anything about signing in is changed."""
    asked = client.get(next_url)
    return client.post(asked.headers["location"], {"password": PASSWORD})


def set_up(client) -> str:
    sign_in(client)
    confirm(client, SET_UP)
    secret = re.search(r"<code>([A-Z2-7]+)</code>", client.get(SET_UP).content.decode())[1]
    client.post(SET_UP, {"code": code_at(secret, NOW_S)})
    return secret


def recovery_codes(client) -> list[str]:
    return re.findall(r"<li><code>(\d{8})</code>", client.get(CODES).content.decode())


def test_a_second_factor_is_set_up_with_a_picture_and_a_code(client, ann):
    sign_in(client)
    asked = client.get(SET_UP)
    confirm(client, SET_UP)

    page = client.get(SET_UP).content.decode()
    secret = re.search(r"<code>([A-Z2-7]+)</code>", page)[1]
    done = client.post(SET_UP, {"code": code_at(secret, NOW_S)})

    assert asked.headers["location"].startswith("/accounts/reauthenticate/")
    assert 'src="data:image/svg+xml;base64,' in page
    assert done.headers["location"] == CODES
    assert len(recovery_codes(client)) == 10


def test_a_wrong_code_sets_nothing_up(client, ann):
    sign_in(client)
    confirm(client, SET_UP)

    page = client.post(SET_UP, {"code": "000000"}).content.decode()

    assert "The code is wrong or expired." in page
    assert 'aria-describedby="id_code_error"' in page
    assert not Authenticator.objects.exists()


def test_signing_in_then_asks_for_a_code(client, ann, standing_clock):
    secret = set_up(client)
    other = Client()

    first = sign_in(other)
    between = other.get("/admin/")
    second = other.post(ASKED, {"code": code_at(secret, NOW_S)})

    assert first.headers["location"] == ASKED
    assert between.headers["location"] == "/admin/login/?next=/admin/"
    assert second.headers["location"] == "/admin/"
    assert other.get("/admin/").status_code == 200


def test_a_code_works_once(client, ann):
    secret = set_up(client)
    one, another = Client(), Client()
    sign_in(one)
    sign_in(another)

    one.post(ASKED, {"code": code_at(secret, NOW_S)})
    refused = another.post(ASKED, {"code": code_at(secret, NOW_S)})

    assert one.get("/admin/").status_code == 200
    assert "The code is wrong or expired." in refused.content.decode()
    assert another.get("/admin/").status_code == 302


def test_a_recovery_code_works_in_its_place_and_once(client, ann):
    set_up(client)
    code = recovery_codes(client)[0]
    one, another = Client(), Client()
    sign_in(one)
    sign_in(another)

    one.post(ASKED, {"code": code})
    another.post(ASKED, {"code": code})

    assert [one.get("/admin/").status_code, another.get("/admin/").status_code] == [200, 302]
    assert code not in recovery_codes(client)


def test_codes_cannot_be_guessed(client, ann, caplog):
    secret = set_up(client)
    other = Client()
    sign_in(other)

    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            other.post(ASKED, {"code": "000000"})
    refused = other.post(ASKED, {"code": code_at(secret, NOW_S)})

    assert "Try again in five minutes." in refused.content.decode()
    assert caplog.messages == ["A sign-in from 127.0.0.1 failed: wrong code."] * 5


def test_giving_up_at_the_code_leads_back_to_the_start(client, ann):
    set_up(client)
    other = Client()
    sign_in(other)

    given_up = other.post("/accounts/logout/", {"next": "/accounts/login/"})

    assert given_up.headers["location"] == "/accounts/login/"
    assert other.get(ASKED).headers["location"] == "/accounts/login/"


def test_the_key_is_nowhere_to_be_read(client, ann):
    secret = set_up(client)
    client.force_login(User.objects.create_superuser("root"))
    row = Authenticator.objects.get(type=Authenticator.Type.TOTP)

    page = client.get(f"/admin/mfa/authenticator/{row.pk}/change/").content.decode()

    assert secret not in str(row.data)
    assert row.data["secret"] not in page
    assert "ann" in page


def test_switching_it_off_takes_the_recovery_codes_along(client, ann):
    set_up(client)

    client.post("/accounts/2fa/totp/deactivate/")

    assert not Authenticator.objects.exists()
    assert sign_in(Client()).headers["location"] == "/admin/"


def test_new_recovery_codes_replace_the_old(client, ann):
    set_up(client)
    old = recovery_codes(client)

    client.post("/accounts/2fa/recovery-codes/generate/")
    download = client.get("/accounts/2fa/recovery-codes/download/")

    assert not set(old) & set(recovery_codes(client))
    assert download.content.decode().split() == recovery_codes(client)


def test_codes_are_shown_only_to_who_has_just_said_who_they_are(client, ann, standing_clock):
    set_up(client)

    standing_clock.shift(301)

    assert client.get(CODES).headers["location"].startswith("/accounts/reauthenticate/")


@pytest.mark.parametrize(("group", "status"), [("Admin", 200), ("Operator", 403), ("Reviewer", 403)])
def test_who_may_change_users_may_take_a_lost_factor_away(client, ann, group, status):
    set_up(client)
    helper = member_of(group)
    row = Authenticator.objects.get(type=Authenticator.Type.TOTP)

    shown = helper.get("/admin/mfa/authenticator/").status_code
    helper.post(f"/admin/mfa/authenticator/{row.pk}/delete/", {"post": "yes"})

    assert shown == status
    assert Authenticator.objects.exists() is (status == 403)


def test_a_new_secret_key_takes_second_factors_along(client, ann, settings):
    secret = set_up(client)
    new = Fernet.generate_key().decode()
    settings.SECRET_KEYS = [new, *settings.SECRET_KEYS]

    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    settings.SECRET_KEYS = [new]
    other = Client()
    sign_in(other)
    other.post(ASKED, {"code": code_at(secret, NOW_S)})

    assert "Second factors encrypted again: 2." in out.getvalue()
    assert other.get("/admin/").status_code == 200


def test_a_second_factor_that_no_key_opens_is_told_and_named(client, ann, settings):
    set_up(client)
    settings.SECRET_KEYS = [Fernet.generate_key().decode()]
    other = Client()
    sign_in(other)

    answer = other.post(ASKED, {"code": "000000"})

    assert "An administrator can remove it." in answer.content.decode()
    with pytest.raises(CommandError, match="second factors of these users: ann"):
        call_command("rotate_secrets", stdout=StringIO())

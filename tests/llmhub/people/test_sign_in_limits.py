from __future__ import annotations

import logging

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

pytestmark = pytest.mark.django_db

PASSWORD = "canary-password-4711"
LOGIN = "/accounts/login/"
LOCKED = "Too many attempts have failed. Try again in five minutes."


@pytest.fixture(autouse=True)
def ann() -> User:
    cache.clear()
    return User.objects.create_user("ann", password=PASSWORD, is_staff=True)


def try_to_sign_in(client, *, username="ann", password="wrong", address="192.0.2.1", **headers):
    return client.post(LOGIN, {"login": username, "password": password}, REMOTE_ADDR=address, **headers)


def test_after_five_failures_even_the_right_password_has_to_wait(client, caplog):
    failures = [try_to_sign_in(client) for _ in range(5)]
    caplog.clear()

    with caplog.at_level(logging.WARNING):
        refused = try_to_sign_in(client, password=PASSWORD)

    assert not any(LOCKED in answer.content.decode() for answer in failures)
    assert LOCKED in refused.content.decode()
    assert caplog.messages == ["A sign-in from 192.0.2.1 was refused: too many have failed."]


def test_a_guesser_elsewhere_locks_nobody_out(client):
    for _ in range(6):
        try_to_sign_in(client, address="198.51.100.7")

    assert try_to_sign_in(client, password=PASSWORD).status_code == 302


@pytest.mark.parametrize("headers", [{"HTTP_HOST": "localhost:4711"}, {"HTTP_X_FORWARDED_FOR": "6.6.6.6"}])
def test_a_guesser_cannot_pass_for_another(client, headers):
    for _ in range(5):
        try_to_sign_in(client)

    assert LOCKED in try_to_sign_in(client, **headers).content.decode()


def test_the_users_behind_a_proxy_are_counted_apart(client, settings):
    settings.TRUSTED_PROXIES = 1
    for _ in range(5):
        try_to_sign_in(client, HTTP_X_FORWARDED_FOR="198.51.100.7")

    refused = try_to_sign_in(client, password=PASSWORD, HTTP_X_FORWARDED_FOR="198.51.100.7")
    admitted = try_to_sign_in(client, password=PASSWORD, HTTP_X_FORWARDED_FOR="198.51.100.8")

    assert (LOCKED in refused.content.decode(), admitted.status_code) == (True, 302)


def test_guesses_at_many_names_are_counted_by_address(client):
    answers = [try_to_sign_in(client, username=f"user-{number}") for number in range(11)]

    assert [LOCKED in answer.content.decode() for answer in answers] == [False] * 10 + [True]


def test_a_flood_is_answered_with_when_to_try_again(client):
    answers = [try_to_sign_in(client, username=f"user-{number}") for number in range(31)]

    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert answers[-1].headers["retry-after"] == "60"
    assert "Try again in a minute." in answers[-1].content.decode()


def test_the_old_password_cannot_be_guessed_from_a_session_either(client, ann):
    client.force_login(ann)

    answers = [client.post("/admin/password_change/", {"old_password": "wrong"}) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]

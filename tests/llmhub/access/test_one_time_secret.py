from __future__ import annotations

from datetime import timedelta

import time_machine
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from llmhub.access.one_time_secret import MAX_AGE_S, store_secret, take_secret

SECRET = "lh_a-secret-of-the-tests"


def test_a_secret_is_taken_once_by_the_key_it_belongs_to():
    session = SessionStore()
    store_secret(session, 7, SECRET)
    store_secret(session, 8, "lh_another")

    assert take_secret(session, 9) is None
    assert take_secret(session, 7) == SECRET
    assert take_secret(session, 7) is None
    assert take_secret(session, 8) == "lh_another"


def test_a_secret_waits_encrypted():
    session = SessionStore()

    store_secret(session, 7, SECRET)

    assert SECRET not in str(dict(session.items()))


def test_a_secret_does_not_wait_for_long():
    session = SessionStore()
    store_secret(session, 7, SECRET)

    with time_machine.travel(timezone.now() + timedelta(seconds=MAX_AGE_S + 2)):
        assert take_secret(session, 7) is None

    assert dict(session.items()) == {"issued_keys": {}}

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict

from llmhub.access.keys import is_well_formed, key_digest, visible_prefix
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import admit

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def application(db):
    return Application.objects.create(name="support-bot")


def issue(application, **fields):
    return ApiKey.objects.issue(application, name="production", **{"scopes": ["chat"], **fields})


def test_an_issued_key_lets_its_application_in(application):
    row, secret = issue(application)

    principal = admit([secret], {row.digest: ApiKey.objects.find_entry(secret)}, now=NOW)

    assert (principal.application, principal.api_key, principal.scopes) == ("support-bot", row.prefix, {"chat"})


def test_nothing_of_a_key_is_kept_but_its_digest_and_its_beginning(application):
    row, secret = issue(application)

    row.refresh_from_db()

    assert row.digest == key_digest(secret)
    assert secret.startswith(row.prefix)
    assert secret not in f"{row!r} {row} {model_to_dict(row)}"
    assert is_well_formed(secret)


def test_no_two_keys_are_the_same(application):
    assert len({issue(application)[1] for _ in range(20)}) == 20


def test_a_key_may_be_chosen(application):
    row, secret = issue(application, key="lh_a-key-of-my-very-own")

    assert secret == "lh_a-key-of-my-very-own"
    assert row.prefix == "lh_a-ke"


@pytest.mark.parametrize("key", ["0777", "a" * 40, "with a space and long enough"])
def test_a_key_that_could_be_guessed_is_not_issued(application, key):
    with pytest.raises(ValidationError, match="20 to 256") as refusal:
        issue(application, key=key)

    assert key not in str(refusal.value)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("secret", "prefix"), [("abc", "a"), ("ab", ""), ("x" * 30, "x" * 10), ("x" * 90, "x" * 10)])
def test_at_most_a_third_of_a_key_is_shown_and_ten_characters(secret, prefix):
    assert visible_prefix(secret) == prefix


def test_a_revocation_is_never_moved(application):
    row, _ = issue(application)
    assert ApiKey.objects.revoke(now=NOW) == 1

    assert ApiKey.objects.revoke(now=NOW + timedelta(days=1)) == 0

    row.refresh_from_db()
    assert row.revoked_at == NOW


def test_the_live_keys_are_those_that_let_somebody_in(application):
    live, _ = issue(application)
    later, _ = issue(application, expires_at=NOW + timedelta(seconds=1))
    issue(application, expires_at=NOW)
    issue(application, revoked_at=NOW)
    issue(Application.objects.create(name="off", is_active=False))

    assert set(ApiKey.objects.live(now=NOW)) == {live, later}


def test_an_unknown_key_has_no_entry(application):
    issue(application)

    assert ApiKey.objects.find_entry("never-heard-of") is None


def test_a_key_is_found_in_one_query(application, django_assert_num_queries):
    _, secret = issue(application)

    with django_assert_num_queries(1):
        assert ApiKey.objects.find_entry(secret).principal.application == "support-bot"


def test_an_application_takes_its_keys_with_it(application):
    _, secret = issue(application)

    application.delete()

    assert ApiKey.objects.find_entry(secret) is None

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from llmhub.access.keys import is_strong, is_well_formed, key_digest, presented_keys
from llmhub.access.principals import KeyEntry, KeyRefusedError, Principal, admit

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "lh_a-key-of-the-tests"
PRINCIPAL = Principal(application="support-bot", api_key="lh_a-ke", scopes=frozenset({"chat"}))


def keys(**fields):
    return {key_digest(KEY): KeyEntry(principal=PRINCIPAL, **fields)}


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "found"),
    [
        pytest.param("Bearer abc", None, ["abc"], id="bearer"),
        pytest.param("bearer   abc  ", None, ["abc"], id="any-case-and-spaces"),
        pytest.param(None, "abc", ["abc"], id="x-api-key"),
        pytest.param("Bearer other", " abc ", ["abc", "other"], id="both"),
        pytest.param("Bearer abc", "", ["abc"], id="an-empty-x-api-key-is-none"),
        pytest.param(None, None, [], id="nothing"),
        pytest.param("", None, [], id="empty"),
        pytest.param("Bearer", None, [], id="scheme-alone"),
        pytest.param("Bearer  ", None, [], id="scheme-and-spaces"),
        pytest.param("Basic YTpi", None, [], id="another-scheme"),
        pytest.param("abc", None, [], id="no-scheme"),
    ],
)
def test_keys_are_found_in_either_header(authorization, x_api_key, found):
    assert list(presented_keys(authorization, x_api_key)) == found


def test_a_key_is_known_by_its_sha256():
    assert key_digest(KEY) == hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize("key", ["x" * 20, "x" * 256, "!~aZ09_-" * 3])
def test_a_well_formed_key_is_of_20_to_256_visible_ascii_characters(key):
    assert is_well_formed(key)


@pytest.mark.parametrize("key", ["0123456789abcdefghij", "lh_a-key-of-the-tests", "!" * 11 + "123456789"])
def test_a_key_that_is_long_and_varied_may_be_chosen(key):
    assert is_strong(key)


@pytest.mark.parametrize("key", ["0777", "0123456789abcdefghi", "a" * 40, "0123456780" * 3, "lh_lh_lh_lh_lh_lh_lh_lh_"])
def test_a_key_that_could_be_guessed_may_not_be_chosen(key):
    assert not is_strong(key)


@pytest.mark.parametrize(
    "key",
    ["", "x" * 19, "x" * 257, *(f"{odd}-twenty-characters-long" for odd in (" ", "\n", "\x00", "ü")), "x" * 20 + "\n"],
)
def test_what_no_key_looks_like_is_not_well_formed(key):
    assert not is_well_formed(key)


def test_a_good_key_is_its_principal():
    assert admit([KEY], keys(), now=NOW) is PRINCIPAL


def test_a_key_is_good_until_the_moment_it_expires():
    assert admit([KEY], keys(expires_at=NOW + timedelta(microseconds=1)), now=NOW) is PRINCIPAL


@pytest.mark.parametrize("presented", [(KEY, "of-another-service-sk-12345"), ("of-another-service-sk-12345", KEY)])
def test_of_two_keys_the_one_that_is_known_counts(presented):
    assert admit(presented, keys(), now=NOW) is PRINCIPAL


def test_no_key_is_refused_with_how_to_send_one():
    with pytest.raises(KeyRefusedError, match="Authorization: Bearer") as refused:
        admit((), keys(), now=NOW)

    assert refused.value.principal is None


@pytest.mark.parametrize("key", [KEY + "x", KEY.upper(), "short", "ключ-ключ-ключ", "' OR 1=1 --"])
def test_an_unknown_key_is_refused_without_being_repeated(key):
    with pytest.raises(KeyRefusedError) as refused:
        admit([key], keys(), now=NOW)

    assert refused.value.principal is None
    assert key not in refused.value.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"revoked_at": NOW}, "revoked on 2026-11-20 12:00 UTC", id="revoked"),
        pytest.param({"revoked_at": NOW + timedelta(days=1)}, "revoked on", id="revoked-by-a-clock-ahead"),
        pytest.param({"expires_at": NOW}, "expired on 2026-11-20 12:00 UTC", id="expired"),
        pytest.param({"is_active": False}, "support-bot is switched off", id="application-off"),
    ],
)
def test_a_key_once_good_is_refused_with_the_reason_and_its_principal(fields, words):
    with pytest.raises(KeyRefusedError, match=words) as refused:
        admit([KEY], keys(**fields), now=NOW)

    assert refused.value.principal is PRINCIPAL
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("allowed", "used", "may"),
    [
        pytest.param({}, ("acme", "large"), True, id="nothing-named-allows-all"),
        pytest.param({"allowed_providers": {"acme"}}, ("acme", "large"), True, id="provider"),
        pytest.param({"allowed_providers": {"acme"}}, ("other", "large"), False, id="another-provider"),
        pytest.param({"allowed_models": {"large"}}, ("acme", "large"), True, id="model-anywhere"),
        pytest.param({"allowed_models": {"acme/large"}}, ("acme", "large"), True, id="model-there"),
        pytest.param({"allowed_models": {"acme/large"}}, ("other", "large"), False, id="model-elsewhere"),
        pytest.param({"allowed_models": {"large"}}, ("acme", "small"), False, id="another-model"),
        pytest.param({"allowed_models": {"meta/large"}}, ("acme", "meta/large"), True, id="model-with-a-slash"),
        pytest.param(
            {"allowed_providers": {"other"}, "allowed_models": {"large"}}, ("acme", "large"), False, id="both-count"
        ),
    ],
)
def test_a_key_allows_the_providers_and_models_it_names(allowed, used, may):
    principal = Principal(**{name: frozenset(values) for name, values in allowed.items()})

    assert principal.may_use(*used) is may


def test_a_principal_is_named_by_user_or_by_application_and_key():
    assert Principal(actor="ada").name == "ada"
    assert PRINCIPAL.name == "support-bot (lh_a-ke)"

import copy
import pickle

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from llmhub.access.secrets import MisplacedSecretError, Secret, UndecryptableSecretError
from providers.models import ProviderConfig

PLAIN = "sk-canary-of-the-tests-4242"


@pytest.fixture
def first_key(settings):
    key = Fernet.generate_key().decode()
    settings.SECRET_KEYS = [key]
    return key


def test_a_secret_is_revealed_only_when_asked():
    secret = Secret.seal(PLAIN)

    assert secret.reveal() == PLAIN
    assert PLAIN not in secret.token


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format, lambda secret: str([secret]), "%s".__mod__])
def test_a_secret_shows_nothing_of_itself(show):
    shown = show(Secret.seal(PLAIN))

    assert "<secret>" in shown
    assert "4242" not in shown


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda secret: pickle.loads(pickle.dumps(secret))])
def test_a_copied_secret_holds_ciphertext_alone(duplicate):
    secret = Secret.seal(PLAIN)

    assert duplicate(secret) == secret
    assert PLAIN.encode() not in pickle.dumps(secret)


@pytest.mark.parametrize(
    ("plain", "masked"),
    [
        pytest.param(PLAIN, "…4242", id="long"),
        pytest.param("123456789abc", "…9abc", id="twelve"),
        pytest.param("123456789ab", "…", id="too-short-to-show-four"),
        pytest.param("x", "…", id="one"),
    ],
)
def test_the_last_four_characters_are_shown_of_a_long_secret(plain, masked):
    assert Secret.seal(plain).masked == masked


@pytest.mark.parametrize("place", ["", "openai https://b.example", "openai https://a.example ", "openai"])
def test_a_secret_is_revealed_at_no_other_place(place):
    secret = Secret.seal(PLAIN, place="openai https://a.example")

    with pytest.raises(MisplacedSecretError) as refusal:
        secret.reveal(place=place)

    assert PLAIN not in str(refusal.value)
    assert (secret.place, secret.reveal(place=secret.place)) == ("openai https://a.example", PLAIN)
    assert (secret.masked, secret.is_readable) == ("…4242", True)


def test_a_place_is_one_line_so_that_no_secret_passes_for_one():
    with pytest.raises(ValueError, match="one line"):
        Secret.seal(PLAIN, place="here\nthere")

    assert Secret.seal("a\nb").reveal() == "a\nb"


def test_sealing_twice_gives_two_ciphertexts():
    assert Secret.seal(PLAIN) != Secret.seal(PLAIN)


def test_every_listed_key_opens_what_it_sealed(settings, first_key):
    secret = Secret.seal(PLAIN)
    settings.SECRET_KEYS = [Fernet.generate_key().decode(), first_key]

    assert secret.reveal() == PLAIN
    assert not secret.is_current


def test_a_rotated_secret_needs_the_first_key_alone(settings, first_key):
    secret = Secret.seal(PLAIN, place="here")
    new_key = Fernet.generate_key().decode()
    settings.SECRET_KEYS = [new_key, first_key]

    rotated = secret.rotated()

    settings.SECRET_KEYS = [new_key]
    assert rotated.reveal(place="here") == PLAIN
    assert rotated.is_current
    assert not secret.is_readable


@pytest.mark.parametrize("token", ["", "no token", "gAAAAA==", "ключ", "\x00"])
@pytest.mark.parametrize("ask", [Secret.reveal, Secret.rotated, lambda secret: secret.is_current])
def test_what_no_key_opens_is_refused_in_words(ask, token):
    with pytest.raises(UndecryptableSecretError, match="LLMHUB_SECRET_KEYS"):
        ask(Secret(token))


@pytest.mark.parametrize("token", ["no token", "ключ"])
def test_a_secret_that_no_key_opens_can_still_be_shown(token):
    secret = Secret(token)

    assert secret.masked == "cannot be decrypted"
    assert not secret.is_readable


@pytest.mark.parametrize("keys", [[], ["too short"], [""]])
def test_keys_that_are_none_are_a_fault_of_the_environment(settings, keys):
    settings.SECRET_KEYS = keys

    with pytest.raises(ImproperlyConfigured, match="LLMHUB_SECRET_KEYS"):
        Secret.seal(PLAIN)


def stored_key(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM providers_providerconfig WHERE name = %s", [name])
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_a_key_lies_in_the_database_as_ciphertext():
    ProviderConfig.objects.create(name="acme", provider_type="openai", api_key=PLAIN)

    assert PLAIN not in stored_key("acme")
    row = ProviderConfig.objects.get(name="acme")
    assert row.api_key.reveal(place=row.key_place) == PLAIN


@pytest.mark.django_db
def test_saving_a_loaded_row_leaves_the_ciphertext_as_it_is():
    ProviderConfig.objects.create(name="acme", provider_type="openai", api_key=PLAIN)
    before = stored_key("acme")

    ProviderConfig.objects.get(name="acme").save()

    assert stored_key("acme") == before


@pytest.mark.django_db
def test_a_bulk_update_cannot_tell_where_a_key_may_go_and_is_refused():
    ProviderConfig.objects.create(name="acme", provider_type="openai")

    with pytest.raises(ValueError, match="place") as refusal, transaction.atomic():
        ProviderConfig.objects.filter(name="acme").update(api_key=PLAIN)

    assert PLAIN not in str(refusal.value)
    assert stored_key("acme") == ""


@pytest.mark.django_db
def test_no_key_is_no_secret():
    row = ProviderConfig.objects.create(name="acme", provider_type="custom", api_key="")

    row.refresh_from_db()

    assert row.api_key is None
    assert stored_key("acme") == ""
    row.save()
    assert stored_key("acme") == ""

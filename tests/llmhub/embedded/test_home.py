import json
import os

import pytest
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from llmhub.access.keys import is_well_formed
from llmhub.embedded import home as homes
from llmhub.embedded.errors import EmbeddedError


def test_only_one_holds_a_home_at_a_time(home):
    with homes.open_home(home), pytest.raises(EmbeddedError, match=f"running already .process {os.getpid()}"):
        homes.open_home(home).__enter__()

    with homes.open_home(home):
        pass


def test_a_home_that_cannot_be_made_is_said_to_be_so(home):
    home.write_text("a file")

    with pytest.raises(EmbeddedError, match="cannot be created"):
        homes.open_home(home / "inside").__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_another_user_is_refused(home):
    home.mkdir()
    os.chown(home, 12345, -1)

    with pytest.raises(EmbeddedError, match="belongs to another user"):
        homes.open_home(home).__enter__()


def test_secrets_are_made_once_and_fit_their_use(home):
    home.mkdir()
    first = homes.make_secrets(home, {})
    homes.write_credentials(home, "http://127.0.0.1:1", first)

    second = homes.make_secrets(home, {})

    assert (first.is_new, second.is_new) == (True, False)
    assert second.variables == first.variables
    Fernet(first.variables["LLMHUB_SECRET_KEYS"])
    assert is_well_formed(first.variables["LLMHUB_DEMO_KEY"])


def test_the_environment_outranks_what_was_made_before(home):
    home.mkdir()
    homes.make_secrets(home, {})

    chosen = homes.make_secrets(home, {"DJANGO_SECRET_KEY": "a-key-of-my-very-own"})

    assert chosen.variables["DJANGO_SECRET_KEY"] == "a-key-of-my-very-own"
    assert "a-key-of-my-very-own" not in (home / "secrets.json").read_text()


def test_what_the_first_start_made_accounts_of_is_kept_whatever_the_environment_says_later(home):
    home.mkdir()
    first = homes.make_secrets(home, {"LLMHUB_DEMO_KEY": "lh_the-first-key-of-all"})
    homes.write_credentials(home, "http://127.0.0.1:1", first)

    later = homes.make_secrets(home, {"LLMHUB_DEMO_KEY": "lh_0777", "LLMHUB_ADMIN_PASSWORD": "later"})

    assert later.variables == first.variables


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        pytest.param("LLMHUB_DEMO_KEY", "a key that no request could carry", id="spaces"),
        pytest.param("LLMHUB_DEMO_KEY", "0777", id="short"),
        pytest.param("LLMHUB_DEMO_KEY", "a" * 40, id="one-letter"),
        pytest.param("DJANGO_SECRET_KEY", "changeme", id="short-signing-key"),
        pytest.param("LLMHUB_ADMIN_PASSWORD", "letmein", id="short-password"),
    ],
)
def test_what_could_be_guessed_or_not_be_sent_is_refused_before_anything_is_kept(home, name, chosen):
    home.mkdir()

    with pytest.raises(EmbeddedError, match=f"{name} must") as refusal:
        homes.make_secrets(home, {name: chosen})

    assert chosen not in str(refusal.value)

    assert not (home / "secrets.json").exists()


def test_secrets_are_readable_to_their_owner_alone_and_shown_to_nobody(home):
    home.mkdir()
    made = homes.make_secrets(home, {})
    homes.write_credentials(home, "http://127.0.0.1:1", made)

    assert [(home / name).stat().st_mode & 0o777 for name in ("secrets.json", "credentials.json")] == [0o600, 0o600]
    assert not any(value in repr(made) for value in made.variables.values())


def test_credentials_are_what_scripts_expect(home):
    home.mkdir()
    made = homes.make_secrets(
        home, {"LLMHUB_ADMIN_PASSWORD": "correct-horse", "LLMHUB_DEMO_KEY": "lh_a-key-of-the-tests"}
    )

    homes.write_credentials(home, "http://127.0.0.1:8000", made)

    assert json.loads((home / "credentials.json").read_text()) == {
        "url": "http://127.0.0.1:8000",
        "admin_user": "admin",
        "admin_password": "correct-horse",
        "api_key": "lh_a-key-of-the-tests",
    }


def test_a_file_of_secrets_that_was_damaged_is_not_replaced(home):
    home.mkdir()
    (home / "secrets.json").write_text("{")

    with pytest.raises(EmbeddedError, match=r"secrets\.json was changed"):
        homes.make_secrets(home, {})


def test_other_commands_read_what_runs_and_only_while_it_does(home):
    home.mkdir()
    variables = {"DATABASE_URL": "postgresql://a@/b?host=/c d", "DJANGO_SECRET_KEY": "it's \\ #1 = $x"}

    with homes.runtime_file(home, variables):
        assert dotenv_values(home / "runtime.env") == variables
        assert (home / "runtime.env").stat().st_mode & 0o777 == 0o600

    assert not (home / "runtime.env").exists()

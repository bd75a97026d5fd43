import sys

import pytest

from llmhub.embedded.errors import EmbeddedError
from tests.bench import peers


def test_an_installation_that_fails_says_why():
    program = "import sys; print('a' * 5); sys.exit('no such version')"

    with pytest.raises(EmbeddedError, match=r"some-peer cannot be installed:\naaaaa\nno such version"):
        peers.run([sys.executable, "-c", program], what="some-peer")


def test_an_installer_that_is_missing_is_named():
    with pytest.raises(EmbeddedError, match="some-peer cannot be installed: No such file or directory: /none/npm"):
        peers.run(["/none/npm"], what="some-peer")


def test_peers_do_not_see_what_the_hub_is_told(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://hub")
    monkeypatch.setenv("BENCH_JSON", "rows.json")

    environment = peers.without_ours()

    assert "PATH" in environment
    assert not {"DATABASE_URL", "REDIS_URL", "BENCH_JSON"} & set(environment)


def test_every_model_of_the_cases_is_configured_at_the_peer(targets):
    config = peers.litellm_config(targets["direct"])

    assert {row["model_name"] for row in config["model_list"]} == set(peers.MODEL_NAMES)

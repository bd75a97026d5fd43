import socket
import subprocess
import sys
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from llmhub.embedded.options import ROOT
from tests.distribution import LONG, TOGETHER
from tests.llmhub.embedded.processes import bare_environment
from tests.stack import new_servers, starting_on_demand

OF_TESTS = """
import pytest
from django.conf import settings
from redis import Redis

def test_plain(): pass
def test_of_the_database(db): pass
def test_hidden_use(): Redis.from_url(settings.REDIS_URL).ping()
@pytest.mark.server
def test_marked(): Redis.from_url(settings.REDIS_URL).ping()
def test_by_fixture(servers): Redis.from_url(settings.REDIS_URL).ping()
"""


@pytest.fixture
def named_nowhere(monkeypatch):
    """The environment of somebody who has no server."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def is_reached(variables):
    try:
        psycopg.connect(variables["DATABASE_URL"]).close()
        with Redis.from_url(variables["REDIS_URL"]) as redis:
            return redis.ping()
    except (psycopg.OperationalError, RedisConnectionError):
        return False


@pytest.mark.server
def test_servers_are_where_they_were_said_to_be_once_they_are_asked_for(named_nowhere, tmp_path):
    path = tmp_path / "starter"
    with new_servers() as servers, starting_on_demand(servers, path):
        before = is_reached(servers.variables)
        answers = []
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as asker:
                asker.connect(str(path))
                answers.append(asker.makefile().read())

        assert not before
        assert answers == ["", ""]
        assert is_reached(servers.variables)

    assert not is_reached(servers.variables)


def test_until_then_nobody_else_is_given_the_port(named_nowhere):
    with new_servers() as servers:
        port = urlsplit(servers.variables["REDIS_URL"]).port

        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))


def test_servers_that_the_environment_names_are_not_started(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://theirs")
    monkeypatch.setenv("REDIS_URL", "redis://theirs")

    with new_servers() as servers:
        assert servers.start() == ""
        assert not {"DATABASE_URL", "REDIS_URL"} & set(servers.variables)


@pytest.fixture
def run_tests(tmp_path):
    """Run some tests in a folder of their own, with what the tests of the hub run with."""
    (tmp_path / "test_some.py").write_text(OF_TESTS)

    def run(*options):
        plugins = ("-p", "tests.stack", "-p", "no:randomly", "-p", "no:cacheprovider")
        argv = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", *plugins, "-rA", *options, tmp_path]
        environment = bare_environment() | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    return run


def outcomes(said):
    lines = (line.split(" - ")[0].split() for line in said.splitlines() if line.startswith(("PASSED", "FAILED")))
    return {nodeid.rpartition("test_")[2]: outcome for outcome, nodeid in lines}


@pytest.mark.server
def test_whoever_asks_for_a_server_by_fixture_or_mark_has_one_in_whichever_worker(run_tests):
    said = run_tests("-n", "2", "-k", "marked or by_fixture or plain")

    assert outcomes(said) == {"plain": "PASSED", "marked": "PASSED", "by_fixture": "PASSED"}, said


@pytest.mark.slow
def test_without_servers_the_rest_runs_and_a_hidden_use_is_told_what_it_lacks(run_tests):
    said = run_tests("--no-servers", "-n", "0")

    assert outcomes(said) == {"plain": "PASSED", "hidden_use": "FAILED"}, said
    assert "pytestmark = pytest.mark.server" in said


@pytest.mark.parametrize("path", {*LONG, *TOGETHER})
def test_what_begins_first_is_there(path):
    assert (ROOT / path).exists()

"""What runs beside a hub that `manage.py up` started, and what its processes know: whose is the database?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import psycopg
import pytest
from dotenv import dotenv_values
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llmhub.embedded.accounts import GROUP_ID, HUB_ID, POSTGRES_ID, can_run, find_hub_account
from llmhub.embedded.options import ROOT
from llmhub.embedded.postgres import SOCKET_NAME
from tests.live import until
from tests.llmhub.embedded.conftest import passable_folder
from tests.llmhub.embedded.processes import Up, family, running_up

pytestmark = pytest.mark.server

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the parts of a hub as several users")
OURS = ("uvicorn", "celery")


@dataclass(frozen=True)
class Started:
    up: Up
    web: dict[str, str]

    def connect(self, **changes: str) -> psycopg.Connection:
        """Connect as web does, but for these changes."""
        return psycopg.connect(make_conninfo(self.web["DATABASE_URL"], **changes), autocommit=True)

    def owner(self) -> psycopg.Connection:
        url = dotenv_values(self.up.home / "runtime.env")["DATABASE_OWNER_URL"]
        assert url
        return psycopg.connect(url, autocommit=True)

    def processes(self, *words: str) -> list[psutil.Process]:
        return [process for process in family(self.up.process.pid) if any(w in command_of(process) for w in words)]


def command_of(process: psutil.Process) -> str:
    """Return how a process was started; nothing for one that is over by now."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one, too
        return ""


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with passable_folder() as folder, running_up(folder / "home", LLMHUB_LOCAL_MODEL="0") as up:
        web = next(p for p in family(up.process.pid) if "uvicorn" in command_of(p))
        yield Started(up, web.environ())


def test_what_web_knows_lets_it_in_as_the_hub(started):
    with started.connect() as connection:
        assert connection.execute("SELECT session_user").fetchone() == ("llmhub",)


@pytest.mark.parametrize("role", ["llmhub_owner", "postgres", "llmhub_app", "root", "nobody"])
@pytest.mark.parametrize("database", ["llmhub", "postgres", "template1"])
@pytest.mark.parametrize("password", ["own", ""])
def test_it_lets_web_in_as_nobody_else(started, role, database, password):
    secrets = {} if password == "own" else {"password": ""}

    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry|password|does not exist"):
        started.connect(user=role, dbname=database, **secrets)


def test_the_superuser_is_let_in_for_nobody_who_started_it_included(started):
    place = conninfo_to_dict(started.web["DATABASE_URL"])

    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry"):
        psycopg.connect(host=str(place["host"]), port=str(place["port"]), user="postgres", dbname="postgres")


def test_no_process_that_serves_knows_the_owners_password(started):
    url = dotenv_values(started.up.home / "runtime.env")["DATABASE_OWNER_URL"]
    assert url
    password = str(conninfo_to_dict(url)["password"])

    environments = [str(process.environ()) for process in started.processes(*OURS)]

    assert len(environments) >= 3
    assert not any(password in text for text in environments)


def test_passwords_are_stored_as_what_cannot_be_presented(started):
    with started.owner() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT rolpassword FROM pg_authid")


def test_the_hub_makes_no_table_not_even_for_a_while(started):
    with started.connect() as connection:
        for statement in (
            "CREATE TABLE another (id int)",
            "CREATE TEMP TABLE another (id int)",
            "SET ROLE llmhub_owner",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize("table", ["access_apikeyevent", "access_apikey", "auth_user", "ledger_ledgerevent"])
def test_its_owner_empties_neither_record_nor_history(started, table):
    with started.owner() as connection:
        for quietly in ("SELECT 1", "SET pgtrigger.ignore = '{history_no_truncate}'"):
            connection.execute(quietly)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"only grows|append-only"):
                connection.execute(f"TRUNCATE {table} CASCADE")


def test_every_trigger_of_the_history_fires_in_every_mode(started):
    with started.owner() as connection:
        query = "SELECT tgname, tgenabled, count(*) FROM pg_trigger WHERE tgname LIKE 'history%' GROUP BY 1, 2"
        found = {(name, mode): count for name, mode, count in connection.execute(query)}

    assert set(found) == {(name, "A") for name in ("history_note", "history_no_change", "history_no_truncate")}
    assert found["history_no_truncate", "A"] == 2 * found["history_note", "A"]


@needs_root
@pytest.mark.parametrize("uid", [65534, 1, 60_001])
def test_another_user_reaches_neither_socket_nor_data_nor_secrets(started, uid):
    home = started.up.home
    socket = f"{conninfo_to_dict(started.web['DATABASE_URL'])['host']}/{SOCKET_NAME}"
    files = ["runtime.env", "secrets.json", "credentials.json", "postgres/pg_hba.conf", "postgres/data/PG_VERSION"]
    places = [socket, *(str(home / name) for name in files)]

    opened = subprocess.run(
        ["/bin/sh", "-c", 'for f in "$@"; do [ -r "$f" ] && echo "$f"; done; true', "sh", *places],
        user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert opened.stdout == ""


def test_worker_and_beat_can_show_that_they_are_alive(started):
    hearts = [started.up.home / "hearts" / f"{name}.heart" for name in ("worker", "beat")]

    until(lambda: all(heart.exists() for heart in hearts), within_s=30)


@needs_root
def test_postgres_runs_as_a_user_that_nothing_else_runs_as(started):
    (server,) = {process.uids().real for process in started.processes("pginstall18/bin/postgres")}

    assert server == POSTGRES_ID
    assert (started.up.home / "postgres" / "data").stat().st_uid == POSTGRES_ID


@needs_root
def test_the_hub_runs_as_a_user_of_its_own_where_that_can_read_its_code(started):
    is_possible = find_hub_account(python=sys.executable, root=ROOT, port=8000) is not None

    found = {process.uids().real for process in started.processes(*OURS)}

    assert found == {HUB_ID if is_possible else 0}
    assert ("run as root" in started.up.greeting) is not is_possible


@needs_root
def test_the_user_of_the_hub_passes_to_the_socket_and_reads_no_data_and_no_secret(started):
    account = type("Account", (), {"switch_uid": HUB_ID, "switch_gid": GROUP_ID, "switch_groups": []})()
    home, sockets = started.up.home, conninfo_to_dict(started.web["DATABASE_URL"])["host"]

    assert can_run(account, "/bin/sh", "-c", f"test -w {sockets}/{SOCKET_NAME}")
    for file in ("runtime.env", "secrets.json", "credentials.json", "postgres/data/PG_VERSION", "postgres/pg_hba.conf"):
        assert not can_run(account, "/bin/sh", "-c", f"cat {home}/{file}"), file


@needs_root
@pytest.mark.parametrize("port", [1, 80, 443, 1023])
def test_on_a_port_that_only_root_listens_on_the_hub_runs_as_root(port, monkeypatch, tmp_path):
    (first := tmp_path / "first").write_text("1024\n")
    monkeypatch.setattr("llmhub.embedded.accounts.FIRST_UNPRIVILEGED_PORT", first)

    assert find_hub_account(python=sys.executable, root=ROOT, port=port) is None

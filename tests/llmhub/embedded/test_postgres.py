import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from llmhub.embedded import postgres
from llmhub.embedded.child_processes import Child, Guard, wait_until
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.postgres import Cluster
from tests.llmhub.embedded.conftest import passable_folder
from tests.stack import stopping

pytestmark = pytest.mark.server

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@contextmanager
def running_cluster(guard: Guard, home: Path) -> Iterator[tuple[Cluster, Child]]:
    home.mkdir(mode=0o700, exist_ok=True)
    with (
        postgres.open_cluster(home, log=home / "postgres.log") as cluster,
        stopping(guard, guard.start(postgres.get_command(cluster))) as child,
    ):
        wait_until(partial(postgres.is_ready, cluster), child, timeout_s=30)
        yield cluster, child


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One that tests only look at."""
    with passable_folder() as folder, Guard() as guard, running_cluster(guard, folder / "home") as (running, _):
        yield running


def execute(cluster: Cluster, role: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(cluster.url(role), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_second_start_finds_the_data_of_the_first(guard, home):
    with running_cluster(guard, home) as (cluster, _):
        execute(cluster, "llmhub_owner", "CREATE TABLE kept AS SELECT 7 AS number")

    with running_cluster(guard, home) as (cluster, _):
        assert execute(cluster, "llmhub_owner", "SELECT number FROM kept") == [(7,)]


def test_what_was_committed_survives_a_kill(guard, home):
    with running_cluster(guard, home) as (cluster, child):
        execute(cluster, "llmhub_owner", "CREATE TABLE kept AS SELECT 7 AS number")
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()

        assert (cluster.data / "postmaster.pid").exists()

    with running_cluster(guard, home) as (cluster, _):
        assert execute(cluster, "llmhub_owner", "SELECT number FROM kept") == [(7,)]


@pytest.mark.parametrize(
    ("setting", "value"), [("fsync", "on"), ("synchronous_commit", "on"), ("listen_addresses", "")]
)
def test_commits_reach_the_disk_and_no_port_is_open(cluster, setting, value):
    assert execute(cluster, "llmhub", f"SHOW {setting}") == [(value,)]


def test_the_application_may_not_make_tables(cluster):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(cluster, "llmhub", "CREATE TABLE mine (id int)")


def test_a_refused_row_does_not_stand_in_the_log(cluster):
    execute(cluster, "llmhub_owner", "CREATE TABLE words (word text CHECK (word <> 'canary'))")

    with pytest.raises(psycopg.errors.CheckViolation):
        execute(cluster, "llmhub_owner", "INSERT INTO words VALUES ('canary')")

    log = cluster.log.read_text()
    assert "violates check constraint" in log
    assert "canary" not in log


def test_a_socket_path_too_long_for_the_kernel_is_put_elsewhere(guard, home):
    with running_cluster(guard, home.with_name("x" * 100)) as (cluster, _):
        sockets = cluster.sockets

        assert execute(cluster, "llmhub", "SELECT 1") == [(1,)]

    assert not sockets.exists()


def test_nobody_else_reaches_the_socket(cluster):
    for path in (cluster.sockets, cluster.sockets / postgres.SOCKET_NAME):
        assert path.stat().st_mode & 0o007 == 0
        assert path.stat().st_gid == cluster.account.gid


def test_data_of_another_version_are_refused_in_words(home):
    home.mkdir()
    with postgres.open_cluster(home, log=home / "postgres.log") as cluster:
        (cluster.data / "PG_VERSION").write_text("16\n")

    with (
        pytest.raises(EmbeddedError, match="of PostgreSQL 16, and the wheel has 18"),
        postgres.open_cluster(home, log=home / "postgres.log"),
    ):
        pass


@needs_root
def test_where_the_other_user_cannot_pass_the_data_are_linked_to_where_it_can(guard, home, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "SHARED_BASE", home.with_name("shared"))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with running_cluster(guard, closed / "home") as (cluster, _):
        assert cluster.data.parent.parent == postgres.SHARED_BASE
        assert (closed / "home" / "postgres").resolve() == cluster.data.parent
        assert execute(cluster, "llmhub", "SELECT 1") == [(1,)]


@needs_root
def test_root_opens_no_folder_to_others(guard, home):
    parents = [home.parent, home.parent.parent]
    modes = [parent.stat().st_mode for parent in parents]

    with running_cluster(guard, home):
        pass

    assert [parent.stat().st_mode for parent in parents] == modes
    assert home.stat().st_mode & 0o007 == 0


@needs_root
def test_data_that_were_moved_away_are_not_replaced_by_an_empty_database(home):
    home.mkdir()
    (home / "postgres").symlink_to(home / "gone")

    with (
        pytest.raises(EmbeddedError, match="The data of PostgreSQL are gone"),
        postgres.open_cluster(home, log=home / "postgres.log"),
    ):
        pass

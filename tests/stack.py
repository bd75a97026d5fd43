"""PostgreSQL and Valkey for one test session, unless the environment names them: a pytest plugin.

Their addresses are decided before Django reads its settings; they start when the first test that needs a server
begins. The controlling process owns them: workers of pytest-xdist inherit the addresses, and ask it to start what is
behind them. They end with the session, whatever ends it.

`python -m tests.stack COMMAND` runs one command beside them; `python -m tests.stack --no-servers COMMAND` runs one
that needs settings and no server.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Lock, Thread

import pytest

from llmhub.embedded import postgres, valkey
from llmhub.embedded.child_processes import Child, Guard, wait_until
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.ports import LOOPBACK

STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
ASK_TIMEOUT_S = postgres.START_TIMEOUT_S + valkey.START_TIMEOUT_S + 60.0

OF_TESTS = "local all all trust\n"
"""Tests make roles of their own, in databases of their own; nobody else can enter the folder of the socket."""

MARKER = "server"
FIXTURES = {"servers", "django_db_setup", "live_server"}
"""What uses one of them, through whichever other fixture, needs the servers; so does what has the marker."""

WITHOUT_SERVERS = f"not {MARKER} and not slow and not soak"
MARKED_WHOLE = re.compile(rf"^pytestmark = pytest\.mark\.({MARKER}|django_db|slow|soak)\b", re.MULTILINE)

HOW_TO_GET_ONE = (
    "No server was started for this test. It needs a fixture of the database (db, hub, …) or the fixture `servers`,"
    f" or the marker `{MARKER}`, alone or with its module: pytestmark = pytest.mark.{MARKER}"
)


class Servers:
    """PostgreSQL and Valkey, unless the environment names them: their addresses at once, themselves when asked for."""

    def __init__(self, home: Path, running: ExitStack) -> None:
        self.variables = {
            "LLMHUB_HOME": str(home),
            "LLMHUB_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        }
        self._home = home
        self._running = running
        self._starting = Lock()
        self._outcome: str | None = None
        self._valkey: valkey.Valkey | None = None
        self._sockets: Path | None = None
        if "REDIS_URL" not in os.environ:
            self._valkey = valkey.new_valkey(home / "valkey.log")
            # Bound, and not listened on: nobody else is given the port, and who connects too early is refused.
            self._port = running.enter_context(socket.socket())
            self._port.bind((LOOPBACK, self._valkey.port))
            self.variables["REDIS_URL"] = self._valkey.url
        if "DATABASE_URL" not in os.environ:
            self._sockets = home / "sockets"
            place = f"{postgres.DATABASE}?host={self._sockets}&port={postgres.PORT}"
            self.variables["DATABASE_URL"] = f"postgresql://{postgres.SUPERUSER}@/{place}"

    def start(self) -> str:
        """Start them unless they have been; return why they did not start, or "". Threads may call it."""
        with self._starting:
            if self._outcome is None:
                try:
                    self._start()
                    self._outcome = ""
                except EmbeddedError as error:
                    self._outcome = str(error)
            return self._outcome

    def _start(self) -> None:
        guard = self._running.enter_context(Guard())
        if self._valkey:
            self._port.close()
            self._running.enter_context(running_valkey(guard, self._home, server=self._valkey))
        if self._sockets:
            cluster = self._running.enter_context(running_postgres(guard, self._home))
            self._sockets.symlink_to(cluster.sockets)


@contextmanager
def new_servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="llmhub-tests-", dir="/tmp") as folder, ExitStack() as running:
        yield Servers(Path(folder), running)


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Run the servers, and yield what Django's settings need beyond what the environment has."""
    with new_servers() as servers:
        if failure := servers.start():
            raise EmbeddedError(failure)
        yield servers.variables


@contextmanager
def running_postgres(guard: Guard, home: Path) -> Iterator[postgres.Cluster]:
    """Let its superuser in, who may make each worker a database of its own."""
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.open_cluster(home, log=home / "postgres.log", is_durable=False))
        command = postgres.get_command(cluster)
        with (cluster.data.parent / "pg_hba.conf").open("a") as rules:
            rules.write(OF_TESTS)
        child = stack.enter_context(stopping(guard, guard.start(command)))
        wait_until(partial(postgres.is_ready, cluster), child, timeout_s=postgres.START_TIMEOUT_S)
        yield cluster


@contextmanager
def running_valkey(guard: Guard, home: Path, *, server: valkey.Valkey | None = None) -> Iterator[str]:
    server = server or valkey.new_valkey(home / "valkey.log")
    with stopping(guard, guard.start(valkey.get_command(server))) as child:
        wait_until(partial(valkey.is_ready, server), child, timeout_s=valkey.START_TIMEOUT_S)
        yield server.url


@contextmanager
def stopping(guard: Guard, child: Child) -> Iterator[Child]:
    try:
        yield child
    finally:
        guard.stop(child, timeout_s=STOP_TIMEOUT_S)


@contextmanager
def starting_on_demand(servers: Servers, path: Path) -> Iterator[None]:
    """Start the servers for whoever connects to the socket at `path`, and answer as `start` does."""

    def answer(asker: socket.socket, *_: object) -> None:
        asker.sendall(servers.start().encode())

    with UnixStreamServer(str(path), answer) as starter:  # type: ignore[arg-type]  # any callable will do
        thread = Thread(target=partial(starter.serve_forever, POLL_S), name="server starter")
        thread.start()
        try:
            yield
        finally:
            starter.shutdown()
            thread.join()


@cache
def ask(path: str) -> str:
    """Have the controlling process start the servers; return its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ASK_TIMEOUT_S)
        connection.connect(path)
        return connection.makefile().read()


STARTER = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    options = early_config.known_args_namespace
    if not (options.help or options.version or "PYTEST_XDIST_WORKER" in os.environ):
        stack = ExitStack()
        early_config.add_cleanup(stack.close)
        servers = stack.enter_context(new_servers())
        path = Path(servers.variables["LLMHUB_HOME"], "starter")
        stack.enter_context(starting_on_demand(servers, path))
        os.environ.update(servers.variables)
        early_config.stash[STARTER] = str(path)
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist whom to ask."""
    node.workerinput["starter"] = node.config.stash[STARTER]  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-servers", action="store_true", help="run only what needs no server and is quick")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[STARTER] = config.workerinput["starter"]
    if config.option.no_servers:
        config.option.markexpr = WITHOUT_SERVERS


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the import of modules that `--no-servers` leaves out whole."""
    is_module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if config.option.no_servers and is_module and MARKED_WHOLE.search(collection_path.read_text()):
        return True
    return None


@pytest.fixture(scope="session")
def servers() -> None:
    """What needs PostgreSQL, Redis, or processes of its own that are as slow to start, asks for this."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, for `-m` as well."""
    for item in items:
        if item.get_closest_marker("django_db") or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if needs_server(item) and (failure := ask(item.config.stash[STARTER])):
        pytest.fail(failure, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo and report.failed and not needs_server(item) and "connect" in call.excinfo.exconly().lower():
        report.sections.append(("servers", HOW_TO_GET_ONE))
    return report


def needs_server(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARKER) is not None


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--no-servers"]:
        with new_servers() as servers:
            return run(arguments[1:], servers.variables)
    with environment() as variables:
        return run(arguments, variables)


def run(argv: list[str], variables: dict[str, str]) -> int:
    return subprocess.run(argv, env=os.environ | variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

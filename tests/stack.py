"""PostgreSQL and Valkey for one test session, unless the environment names them: a pytest plugin.

It starts them before Django reads its settings, in the controlling process only; workers of pytest-xdist inherit
the environment. They end with the session, whatever ends it. `python -m tests.stack COMMAND` runs one command so.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from llmhub.embedded import postgres, valkey
from llmhub.embedded.child_processes import Child, Guard, wait_until

STOP_TIMEOUT_S = 10.0

OF_TESTS = "local all all trust\n"
"""Tests make roles of their own, in databases of their own; nobody else can enter the folder of the socket."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    options = early_config.known_args_namespace
    if not (options.help or options.version or "PYTEST_XDIST_WORKER" in os.environ):
        stack = ExitStack()
        early_config.add_cleanup(stack.close)
        os.environ.update(stack.enter_context(environment()))
    return (yield)


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Yield what Django's settings need, beyond what the environment has."""
    with tempfile.TemporaryDirectory(prefix="llmhub-tests-", dir="/tmp") as folder, Guard() as guard:
        home = Path(folder)
        variables = {
            "LLMHUB_HOME": folder,
            "LLMHUB_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        }
        with ExitStack() as servers:
            if "REDIS_URL" not in os.environ:
                variables["REDIS_URL"] = servers.enter_context(running_valkey(guard, home))
            if "DATABASE_URL" not in os.environ:
                variables["DATABASE_URL"] = servers.enter_context(running_postgres(guard, home))
            yield variables


@contextmanager
def running_postgres(guard: Guard, home: Path) -> Iterator[str]:
    """Yield the URL of its superuser, who may make each worker a database of its own."""
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.open_cluster(home, log=home / "postgres.log", is_durable=False))
        command = postgres.get_command(cluster)
        with (cluster.data.parent / "pg_hba.conf").open("a") as rules:
            rules.write(OF_TESTS)
        child = stack.enter_context(stopping(guard, guard.start(command)))
        wait_until(partial(postgres.is_ready, cluster), child, timeout_s=postgres.START_TIMEOUT_S)
        yield cluster.url(postgres.SUPERUSER)


@contextmanager
def running_valkey(guard: Guard, home: Path) -> Iterator[str]:
    server = valkey.new_valkey(home / "valkey.log")
    with stopping(guard, guard.start(valkey.get_command(server))) as child:
        wait_until(partial(valkey.is_ready, server), child, timeout_s=valkey.START_TIMEOUT_S)
        yield server.url


@contextmanager
def stopping(guard: Guard, child: Child) -> Iterator[Child]:
    try:
        yield child
    finally:
        guard.stop(child, timeout_s=STOP_TIMEOUT_S)


def main() -> int:
    with environment() as variables:
        return subprocess.run(sys.argv[1:], env=os.environ | variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

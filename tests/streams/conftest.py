from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import psycopg
import pytest
from psycopg import sql

from llmhub.embedded.options import ROOT
from llmhub.runtime.database import conninfo
from tests.fakes import FakeProvider
from tests.live import LiveHub
from tests.streams.load import Load, Outcome
from tests.streams.web import Web, running_web

FEW = 7
"""How many connections to the database the web process is given."""

SILENCE_S = 0.1
"""After how much silence it says so."""


@pytest.fixture(scope="module")
def few_connections(django_db_setup: None, worker_id: str) -> Iterator[str]:
    """A role with all rights to the tables and no more than a few connections, as the server itself sees to."""
    role = sql.Identifier(name := f"few_{worker_id}")
    with psycopg.connect(conninfo(), autocommit=True) as owner:
        made = sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT {} IN ROLE {}")
        owner.execute(made.format(role, sql.Literal(FEW), sql.Identifier(owner.info.user)))
        yield name
        owner.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture(scope="module")
def web(few_connections: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web process that owns only a few connections to the database, and has little patience."""
    with running_web(
        tmp_path_factory.mktemp("logs"),
        DATABASE_URL=conninfo(user=few_connections),
        LLMHUB_DATABASE_POOL=str(FEW - 4),
        STREAMS_SILENCE_S=str(SILENCE_S),
        STREAMS_UNREAD_S="1.5",
    ) as process:
        yield process


@pytest.fixture
def key(hub: LiveHub, upstream: FakeProvider) -> str:
    """A key for the model `up/m`."""
    hub.add_provider(upstream, name="up", models=("m",), timeout=60)
    return hub.issue_key()


@pytest.fixture
def web_key(web: Web, key: str) -> str:
    """The same, once the web process knows it."""
    web.learns_of(key, "up/m")
    return key


@contextmanager
def loading(load: Load) -> Iterator[Callable[[], Outcome]]:
    """Put a process under load from another one; what is yielded waits for the outcome."""
    argv = [sys.executable, "-m", "tests.streams.load", json.dumps(asdict(load))]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as client:
        try:
            yield lambda: Outcome(**json.loads(client.communicate(timeout=600)[0]))
        finally:
            client.kill()

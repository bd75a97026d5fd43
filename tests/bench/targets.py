"""What is measured: the upstream itself, the bare proxy before it, and the hub as `manage.py up` runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
from dotenv import dotenv_values

from llmhub.embedded.child_processes import ChildCommand, Guard, wait_until
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import LOOPBACK, get_loopback_port, is_answering
from llmhub.embedded.services import WEB_OPTIONS
from tests.llmhub.embedded.processes import Up, family, running_up
from tests.stack import stopping

PROVIDER_KEY = "sk-bench-upstream"
START_TIMEOUT_S = 60.0
ROLES = {"web": "llmhub.asgi:application", "postgres": "postgres", "worker": "worker", "beat": "beat"}

Processes = Callable[[], list[psutil.Process]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`served_by` are the processes whose CPU time is the target's; `helped_by` others that work for it, by role."""

    name: str
    port: int
    served_by: Processes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    helped_by: Mapping[str, Processes] = field(default_factory=dict)


@contextmanager
def running_direct(guard: Guard, logs: Path) -> Iterator[Target]:
    with running_uvicorn(guard, "direct", "tests.bench.upstream:application", logs=logs) as target:
        yield target


@contextmanager
def running_bare(guard: Guard, logs: Path, upstream: Target, *, processes: int) -> Iterator[Target]:
    with running_uvicorn(
        guard, "bare", "tests.bench.bare:application", logs=logs, processes=processes, BENCH_UPSTREAM=url_of(upstream)
    ) as target:
        yield target


@contextmanager
def running_uvicorn(
    guard: Guard, name: str, application: str, *, logs: Path, processes: int = 1, **environment: str
) -> Iterator[Target]:
    port = get_loopback_port()
    workers = ("--workers", str(processes)) if processes > 1 else ()
    arguments = ("-m", "uvicorn", application, "--host", LOOPBACK, "--port", str(port), *WEB_OPTIONS, *workers)
    command = ChildCommand(
        name=name,
        argv=[sys.executable, *arguments],
        log=logs / f"{name}.log",
        env=os.environ | environment,
        cwd=ROOT,
    )
    with running_command(guard, command, port, path="/v1/models") as served_by:
        yield Target(name=name, port=port, served_by=served_by, headers={"authorization": f"Bearer {PROVIDER_KEY}"})


@contextmanager
def running_command(guard: Guard, command: ChildCommand, port: int, *, path: str) -> Iterator[Processes]:
    """Run a server until it answers under `path`, and yield a way to find its processes."""
    with stopping(guard, guard.start(command)) as child:
        wait_until(lambda: is_answering(LOOPBACK, port, path, timeout_s=5), child, timeout_s=START_TIMEOUT_S)
        process = psutil.Process(child.process.pid)
        yield lambda: with_family(process)


def with_family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *family(process.pid)]


def url_of(target: Target) -> str:
    return f"http://{LOOPBACK}:{target.port}"


@dataclass(frozen=True, slots=True)
class Hub:
    """The whole product, its record on, in a PostgreSQL that writes durably."""

    up: Up
    target: Target

    def recorded(self) -> dict[str, int]:
        """Count what the record holds of chats that were answered."""
        query = """
            SELECT (SELECT count(*) FROM chat_chat WHERE status = 'succeeded'),
                   (SELECT count(*) FROM ledger_ledgerevent WHERE kind = 'intent'),
                   (SELECT count(*) FROM ledger_ledgerevent WHERE kind = 'outcome')"""
        with psycopg.connect(dotenv_values(self.up.home / "runtime.env")["DATABASE_URL"]) as connection:
            row = connection.execute(query).fetchone()
        return dict(zip(("chats", "intents", "outcomes"), row, strict=True))


@contextmanager
def running_hub(home: Path, upstream: Target, *, processes: int) -> Iterator[Hub]:
    """Run a hub with the upstream as its only provider of the cases' models."""
    with running_up(home, LLMHUB_LOCAL_MODEL="0", WEB_CONCURRENCY=str(processes)) as up:
        if up.process.poll() is not None:
            raise EmbeddedError(up.greeting)
        register(up, upstream)
        found = {role: find_role(up, word) for role, word in ROLES.items()}
        target = Target(
            name="hub",
            port=urlsplit(up.credentials["url"]).port,
            headers={"authorization": f"Bearer {up.credentials['api_key']}"},
            served_by=found.pop("web"),
            helped_by=found,
        )
        yield Hub(up, target)


def register(up: Up, upstream: Target) -> None:
    provider = {
        "name": "bench",
        "provider_type": "openai",
        "base_url": f"{url_of(upstream)}/v1",
        "api_key": PROVIDER_KEY,
    }
    with up.client() as client:
        client.post("/api/providers/register", json=provider).raise_for_status()
        client.post("/api/providers/bench/default").raise_for_status()
        client.post("/api/providers/bench/refresh").raise_for_status()


def find_role(up: Up, word: str) -> Processes:
    """Return a way to find one of the hub's servers, with its children, by a word of its command line."""
    children = psutil.Process(up.process.pid).children()
    own = [child for child in children if word in {Path(argument).name for argument in child.cmdline()}]
    if len(own) != 1:
        message = f"{len(own)} of the hub's processes are called {word!r}, not 1"
        raise LookupError(message)
    return lambda: with_family(own[0])

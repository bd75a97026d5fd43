"""The hub as processes that can be killed, paused, stopped and started again, each for itself."""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import psycopg

from llmhub.embedded import postgres, services, valkey
from llmhub.embedded.child_processes import Child, ChildCommand, Guard, wait_until
from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import LOOPBACK, get_loopback_port
from llmhub.embedded.services import HubCommands
from llmhub.http.uvicorn_options import DRAIN_TIMEOUT_S
from tests.chaos.load import PROVIDER
from tests.chaos.promises import Event, Row, Seat
from tests.chaos.upstream import MODEL
from tests.live import until
from tests.llmhub.embedded.processes import bare_environment, runs

APPLICATION = "llmhub.asgi:application"

GONE_S = 20.0
STOP_S = DRAIN_TIMEOUT_S + 10.0

EVENTS = """
    SELECT id::text, kind, chat_id::text, writer_id::text, writer_seq,
      extract(epoch FROM pg_xact_commit_timestamp(event.xid::xid))::float8,
      coalesce(convert_from(header, 'UTF8')::jsonb #>> '{ev,status}', ''),
      convert_from(header, 'UTF8')::jsonb #>> '{ev,error,code}',
      coalesce(convert_from(body, 'UTF8'), '')
    FROM ledger_ledgerevent AS event LEFT JOIN ledger_chatcontent USING (id, chat_id)
"""
SEATS = "SELECT writer_id::text, pid, last_seq FROM ledger_ledgerwriterrecord"
ROWS = "SELECT id::text, status, outcome_id::text FROM chat_chat"


@dataclass
class Server:
    """One child under its guard. Shape: `killed` are the ids of processes that were given no chance."""

    guard: Guard
    command: ChildCommand
    is_ready: Callable[[], bool]
    start_timeout_s: float
    child: Child | None = None
    killed: set[int] = field(default_factory=set)

    def start(self) -> None:
        self.child = self.guard.start(self.command)

    def until_ready(self) -> None:
        assert self.child is not None
        wait_until(self.is_ready, self.child, timeout_s=self.start_timeout_s)

    def bring_back(self) -> None:
        self.start()
        self.until_ready()

    def log_text(self) -> str:
        return self.command.log.read_text()

    def until_back(self) -> None:
        """Wait until it is of use again, and start it where it has ended."""

        def is_back() -> bool:
            assert self.child is not None
            if not self.child.is_running:
                self.guard.clear(self.child)
                self.start()
            return self.is_ready()

        until(is_back, within_s=self.start_timeout_s)

    def family(self) -> list[psutil.Process]:
        """Return the process and all below it; each may lead a group of its own."""
        assert self.child is not None
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.child.process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def kill(self) -> None:
        """End it and all below it without a word, and wait until the last is gone."""
        assert self.child is not None
        family = self.family()
        self.killed |= {process.pid for process in family}
        self.guard.clear(self.child)
        for process in family[1:]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        bury(family[1:])

    def kill_first(self) -> None:
        """Kill the process that was started alone, and wait until those below it have noticed."""
        assert self.child is not None
        below = self.family()[1:]
        self.child.process.kill()
        bury(below)
        self.guard.clear(self.child)

    def kill_one_below(self, chance: random.Random) -> None:
        """Kill one of the processes that the first one started and will start again."""
        workers = [process for process in self.family()[1:] if "spawn_main" in " ".join(process.cmdline())]
        chosen = chance.choice(workers)
        self.killed.add(chosen.pid)
        chosen.kill()

    def stop(self) -> None:
        """Stop it in its own way."""
        assert self.child is not None
        went = self.guard.stop(self.child, timeout_s=STOP_S)
        assert went, f"{self.command.name} did not stop within {STOP_S:g} s."

    def end(self) -> None:
        if self.child is not None:
            self.kill()

    @contextmanager
    def paused(self) -> Iterator[None]:
        stopped: list[psutil.Process] = []
        while fresh := [process for process in self.family() if process not in stopped]:
            for process in fresh:
                stopped.append(process)
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
        try:
            yield
        finally:
            for process in reversed(stopped):
                with suppress(psutil.NoSuchProcess):
                    process.resume()


def bury(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs; the dead that a slow init has not buried do not count."""
    until(lambda: not any(map(runs, processes)), within_s=GONE_S)


@dataclass
class Hub:
    """Everything that `make run` starts but the model, without the supervisor that would start it again."""

    home: Path
    guard: Guard
    cluster: postgres.Cluster
    env: dict[str, str]
    port: int
    processes: int
    key: str
    postgres: Server
    valkey: Server
    web: Server
    worker: Server
    beat: Server
    clerk: Clerk

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def killed(self) -> frozenset[int]:
        return frozenset(self.web.killed)

    def start_web(self, *, application: str = APPLICATION, **env: str) -> None:
        """Start web, with another ASGI application or other variables than before where so told."""
        command = HubCommands(self.home / "logs", self.env | env).web(LOOPBACK, self.port, processes=self.processes)
        argv = [application if argument == APPLICATION else argument for argument in command.argv]
        self.web.command = replace(command, argv=argv)
        self.web.bring_back()

    def register(self, upstream_url: str) -> None:
        provider = {"name": PROVIDER, "provider_type": "custom", "base_url": upstream_url, "default_model": MODEL}
        self._post("/api/providers/register", provider | {"timeout": 30})

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        request = Request(self.url + path, data=json.dumps(body).encode(), headers=headers)
        with urlopen(request, timeout=30) as answer:
            assert answer.status in (200, 201)

    def connect(self) -> psycopg.Connection:
        """Return a superuser's connection to the hub's database."""
        return self.cluster.connect(postgres.DATABASE)

    def has_open_chats_of_the_living(self) -> bool:
        """Tell whether a chat is open whose process could still close it."""
        query = "SELECT pid FROM chat_chat JOIN ledger_ledgerwriterrecord USING (writer_id) WHERE status = 'started'"
        with self.connect() as connection:
            return any(pid not in self.killed for (pid,) in connection.execute(query))

    def read_ledger(self) -> tuple[tuple[Event, ...], tuple[Seat, ...]]:
        names = ("id", "kind", "chat_id", "writer_id", "writer_seq", "committed_at_s", "status", "error_code", "body")
        with self.connect() as connection:
            events = tuple(Event(**dict(zip(names, row, strict=True))) for row in connection.execute(EVENTS))
            return events, tuple(Seat(*row) for row in connection.execute(SEATS))

    def read_rows(self) -> frozenset[Row]:
        with self.connect() as connection:
            return frozenset(Row(*row) for row in connection.execute(ROWS))


class Clerk:
    """A process of the hub's own code that reaps and rebuilds on request."""

    def __init__(self, guard: Guard, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.clerk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=env,
            cwd=ROOT,
        )

    def do(self, work: str) -> int:
        """Do `reap` or `rebuild`; return how many chats it was about."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{work}\n")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()


@contextmanager
def running_hub(home: Path, *, processes: int, has_tasks: bool) -> Iterator[Hub]:
    """Yield a hub that is ready, with servers of its own that lose nothing in a crash; worker and beat if so wished."""
    logs = home / "logs"
    with ExitStack() as stack:
        guard = stack.enter_context(Guard())
        cluster = stack.enter_context(postgres.open_cluster(home, log=logs / "postgres.log"))
        key = f"lh_{secrets.token_urlsafe(32)}"
        cache = valkey.new_valkey(logs / "valkey.log")
        env = make_environment(home, cluster, cache)
        commands = HubCommands(logs, env)
        port = get_loopback_port()
        hub = Hub(
            home=home,
            guard=guard,
            cluster=cluster,
            env=env,
            port=port,
            processes=processes,
            key=key,
            postgres=Server(
                guard, timed_commits(cluster), partial(postgres.is_ready, cluster), postgres.START_TIMEOUT_S
            ),
            valkey=Server(guard, valkey.get_command(cache), partial(valkey.is_ready, cache), valkey.START_TIMEOUT_S),
            web=Server(
                guard,
                commands.web(LOOPBACK, port, processes=processes),
                partial(services.is_web_ready, LOOPBACK, port),
                services.READY_TIMEOUT_S,
            ),
            worker=Server(guard, commands.worker(), lambda: True, 0),
            beat=Server(guard, commands.beat(), lambda: True, 0),
            clerk=Clerk(guard, env | {"DATABASE_OWNER_URL": cluster.url(postgres.OWNER_ROLE)}),
        )
        for server in (hub.postgres, hub.valkey, hub.worker, hub.beat, hub.web):
            stack.callback(server.end)
        stack.callback(hub.clerk.close)
        _start(hub, commands, has_tasks=has_tasks)
        yield hub


def _start(hub: Hub, commands: HubCommands, *, has_tasks: bool) -> None:
    for server in (hub.postgres, hub.valkey):
        server.start()
    for server in (hub.postgres, hub.valkey):
        server.until_ready()
    owner = {"DATABASE_OWNER_URL": hub.cluster.url(postgres.OWNER_ROLE), "LLMHUB_DEMO_KEY": hub.key}
    prepare = hub.guard.start(commands.prepare(owner))
    assert prepare.wait(services.READY_TIMEOUT_S)
    assert prepare.process.returncode == 0, (hub.home / "logs" / "prepare.log").read_text()
    hub.guard.clear(prepare)
    for server in (hub.worker, hub.beat) if has_tasks else ():
        server.start()
    hub.start_web()


def timed_commits(cluster: postgres.Cluster) -> ChildCommand:
    """Let the server keep the time of each commit, which is earlier than its answer and later than the event's `at`."""
    command = postgres.get_command(cluster)
    return replace(command, argv=[*command.argv, "--track_commit_timestamp=on"])


def make_environment(home: Path, cluster: postgres.Cluster, cache: valkey.Valkey) -> dict[str, str]:
    metrics = home / "metrics"
    metrics.mkdir()
    return bare_environment() | {
        "LLMHUB_HOME": str(home),
        "DATABASE_URL": cluster.url(postgres.APPLICATION_ROLE),
        "REDIS_URL": cache.url,
        "LLMHUB_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "LLMHUB_ADMIN_PASSWORD": secrets.token_urlsafe(15),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "LLMHUB_STOP_NOTICE_S": "0",
        "PYTHONUNBUFFERED": "1",
    }

"""One web process of the hub, run as in production over the database of the tests, and watched from outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import LOOPBACK, get_loopback_port
from llmhub.embedded.services import HubCommands, is_web_ready
from llmhub.runtime.database import conninfo
from tests.live import until

START_S = 60.0
ADDRESSES = (f"127.1.{number // 250}.{number % 250 + 1}" for number in count())
"""Each for one use."""

WATCHED = {
    "llmhub.asgi:application": "tests.streams.watched:application",
    "llmhub.http.server:BoundedHttpProtocol": "tests.streams.watched:WatchedProtocol",
}


class Held(NamedTuple):
    """What a process holds. Every stream adds to each while it lasts, and none after it."""

    tasks: int
    sockets: int
    upstream: int
    threads: int


@dataclass(frozen=True)
class Web:
    url: str
    process: psutil.Process

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)

    @property
    def rss_bytes(self) -> int:
        return int(self.process.memory_info().rss)

    def held(self, upstream_port: int) -> Held:
        """Return what is held now; `upstream` are the connections to a provider's port."""
        tasks = self.client.get("/tasks").json()["tasks"]
        sockets = self.process.net_connections("tcp")
        to_upstream = [one for one in sockets if one.raddr and one.raddr.port == upstream_port]
        return Held(tasks, len(sockets) - len(to_upstream), len(to_upstream), self.process.num_threads())

    @contextmanager
    def client_at(self, address: str) -> Iterator[httpx.Client]:
        """Yield a client at another address of this machine."""
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=self.url, transport=transport, timeout=30) as client:
            yield client

    def learns_of(self, key: str, model: str) -> None:
        """Wait until the process serves this model to this key.

        It asks from an address of its own, as a key that is not known yet passes for a guess.
        """
        headers = {"authorization": f"Bearer {key}"}
        with self.client_at(next(ADDRESSES)) as client:
            until(lambda: f'"{model}"' in client.get("/v1/models", headers=headers).text)


@contextmanager
def running_web(logs: Path, **environment: str) -> Iterator[Web]:
    """Run a web process until the end of the block."""
    port = get_loopback_port()
    variables = {"DATABASE_URL": conninfo(), "LLMHUB_STOP_NOTICE_S": "0", **environment}
    command = HubCommands(logs, {}).web(LOOPBACK, port, processes=1)
    argv = [WATCHED.get(word, word) for word in command.argv]
    with (
        command.log.open("wb") as log,
        subprocess.Popen(
            argv, env=os.environ | variables, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or is_web_ready(LOOPBACK, port), within_s=START_S)
            assert process.poll() is None, command.log.read_text()
            web = Web(f"http://{LOOPBACK}:{port}", psutil.Process(process.pid))
            with web.client:
                yield web
        finally:
            process.terminate()
            process.wait(timeout=60)

"""Fifty attackers send the worst that was found for a minute, and nobody else notices. Run by `make soak`."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmhub.embedded.options import ROOT
from tests.attacks.bodies import MODEL, prompt, write_bodies
from tests.attacks.keys import REVOKED
from tests.attacks.load import Attack, Calls, Siege, Timed
from tests.chaos.hub import Hub, running_hub
from tests.llmhub.embedded.conftest import passable_folder

pytestmark = pytest.mark.soak

MB = 1_000_000
QUIET_S, ATTACK_S, HEAD_START_S = 20.0, 60.0, 2.0
CALLERS, EVERY_S = 8, 0.25
PAUSE_S = 0.25
COMMON_FILE_LIMIT = 1024
MOST_MEMORY_MB, TOO_MUCH_MEMORY_MB = 700, 4000
NAMES = ("no key", "unknown", REVOKED, "valid")
SIZES = """
    SELECT coalesce(sum(pg_column_size(event.header) + coalesce(pg_column_size(content.body), 0)), 0)
    FROM ledger_ledgerevent AS event LEFT JOIN ledger_chatcontent AS content USING (id, chat_id)
    WHERE convert_from(event.header, 'UTF8')::jsonb #>> '{ev,app}' = %s
"""


@dataclass(frozen=True)
class Place:
    hub: Hub
    keys: dict[str, str]
    folder: Path

    def head(self, key: str, size: int) -> str:
        sent = f"authorization: Bearer {self.keys[key]}\r\n" if key in self.keys else ""
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{sent}"
            f"content-type: application/json\r\ncontent-length: {size}\r\n\r\n"
        )

    def request(self, key: str, model: str, *, is_stream: bool = False) -> str:
        body = prompt(model, is_stream=is_stream)
        return self.head(key, len(body)) + body.decode()


@contextmanager
def python(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def usual_limit_of_files() -> Iterator[None]:
    """Let what is started have as many open files as most machines allow at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (COMMON_FILE_LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def place() -> Iterator[Place]:
    """A hub with the provider `quiet`, the provider `hostile`, and keys that are in force and not."""
    with ExitStack() as stack:
        folder = stack.enter_context(passable_folder())
        (home := folder / "home").mkdir(mode=0o700)
        with usual_limit_of_files():
            hub = stack.enter_context(running_hub(home, processes=1, has_tasks=True))
        for name, words in (("quiet", ()), ("hostile", ("--slowly",))):
            process = stack.enter_context(python("-m", "tests.attacks.upstream", *words, stdin=subprocess.PIPE))
            assert process.stdout is not None
            url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
            provider = {"name": name, "provider_type": "custom", "base_url": url, "default_model": "echo"}
            hub._post("/api/providers/register", provider)
            hub._post(f"/api/providers/{name}/refresh", {})
        made = subprocess.run(
            [sys.executable, "-m", "tests.attacks.keys"], env=hub.env, cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        yield Place(hub, json.loads(made.stdout) | {"unknown": "lh_" + "0" * 43}, folder)


def attackers(place: Place) -> list[Attack]:
    """Fifty of them: each worst body with each sort of key, and what needs no body."""
    files = write_bodies(place.folder)
    bodies = [
        Attack(name=f"{name}, {key}", head=place.head(key, path.stat().st_size), body=str(path))
        for name, path in files.items()
        for key in NAMES
    ]
    stalls = [
        Attack(name=f"stalled, {key}", head=place.head(key, 33_553_408), body=str(files["noise"]), stay_s=20)
        for key in NAMES
    ] * 2
    hosts = [
        Attack(name=name, head=f"GET /admin/ HTTP/1.1\r\nhost: {host}\r\n\r\n")
        for name, host in (("long host", "h" * 60_000), ("host like a token", "-eyJ" * 15_000))
    ]
    streams = [
        Attack(name=f"hostile {model}", head=place.request("valid", f"hostile/{model}", is_stream=model != "whole"))
        for model in ("endless", "choices", "line", "whole")
    ]
    silent = [Attack(name="silent", head="", connections=300)] * 4
    found = [*bodies, *stalls, *hosts, *streams, *silent]
    assert len(found) == 50
    return found


@contextmanager
def loading(place: Place, kind: str, task: Calls | Siege) -> Iterator[subprocess.Popen[str]]:
    file = place.folder / f"{kind}.json"
    file.write_text(json.dumps(asdict(task)))
    with python("-m", "tests.attacks.load", kind, str(file)) as process:
        yield process


def answer_of(process: subprocess.Popen[str]) -> Any:
    return json.loads(process.communicate(timeout=400)[0])


def calls(place: Place, *, seconds: float) -> Calls:
    request = place.request("caller", MODEL)
    return Calls(port=place.hub.port, request=request, callers=CALLERS, every_s=EVERY_S, seconds=seconds)


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


class Watch:
    """The most memory that web has held until the end of the block; web is ended before it takes the machine along."""

    def __init__(self, hub: Hub) -> None:
        self.worst_rss_mb = 0.0
        self._hub = hub
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(psutil.NoSuchProcess):
                rss = sum(process.memory_info().rss for process in self._hub.web.family())
                self.worst_rss_mb = max(self.worst_rss_mb, rss / MB)
                if rss / MB > TOO_MUCH_MEMORY_MB:
                    self._hub.web.kill()
                    return


def log_mb(hub: Hub) -> float:
    return sum(path.stat().st_size for path in (hub.home / "logs").glob("web*")) / MB


def refused_bytes(hub: Hub) -> int:
    with hub.connect() as connection:
        return int(connection.execute(SIZES, [REVOKED]).fetchone()[0])  # type: ignore[index]


def database_mb(hub: Hub) -> float:
    with hub.connect() as connection:
        return connection.execute("SELECT pg_database_size(current_database())").fetchone()[0] / MB  # type: ignore[index]


def test_nobody_else_notices_fifty_attackers(place):
    hub, siege = place.hub, Siege(port=place.hub.port, attacks=attackers(place), seconds=ATTACK_S, pause_s=PAUSE_S)
    with loading(place, "calls", calls(place, seconds=QUIET_S)) as process:
        quiet = Timed(**answer_of(process))
    log_before_mb, database_before_mb = log_mb(hub), database_mb(hub)

    with loading(place, "siege", siege) as besieging, Watch(hub) as watch:
        threading.Event().wait(HEAD_START_S)
        with loading(place, "calls", calls(place, seconds=ATTACK_S - HEAD_START_S)) as process:
            attacked = Timed(**answer_of(process))
        told = answer_of(besieging)

    found = {
        "chats, quiet p50 / p99": f"{statistics.median(quiet.chats_s):.3f} / {p99(quiet.chats_s):.3f} s",
        "chats, under attack p50 / p99 / worst": (
            f"{statistics.median(attacked.chats_s):.3f} / {p99(attacked.chats_s):.3f} / {max(attacked.chats_s):.3f} s"
        ),
        "healthz, worst": f"{max(quiet.probes_s):.3f} s quiet, {max(attacked.probes_s):.3f} s under attack",
        "failures": f"{quiet.failures} quiet, {attacked.failures} under attack",
        "web, most memory": f"{watch.worst_rss_mb:.0f} MB",
        "recorded for the revoked key": f"{refused_bytes(hub):,} bytes",
        "database, log of web": f"{database_mb(hub) - database_before_mb:+.0f}, {log_mb(hub) - log_before_mb:+.1f} MB",
    }
    print("", *(f"  {name}: {count}" for name, count in sorted(told.items())), sep="\n")
    print(*(f"{name}: {value}" for name, value in found.items()), sep="\n")
    assert quiet.failures == attacked.failures == {}
    assert p99(attacked.chats_s) <= 3 * p99(quiet.chats_s)
    assert max(attacked.probes_s) < 0.5
    assert watch.worst_rss_mb < MOST_MEMORY_MB
    assert refused_bytes(hub) < MB

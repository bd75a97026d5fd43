"""The whole hub as its processes, at the level DEBUG: their logs, arguments and environments."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx
import psutil
import psycopg
import pytest
from dotenv import dotenv_values

from tests import fakes
from tests.fakes import FakeProvider
from tests.live import until
from tests.llmhub.embedded.conftest import passable_folder
from tests.llmhub.embedded.processes import Up, family, running_up
from tests.secrets_kept.canaries import ANSWER, ECHO, PROMPT, PROVIDER_KEY, found

pytestmark = pytest.mark.server

API_KEY = "lh_canary-demo-key-83b1c0"
PASSWORD = "canary-password-4711"
FAULTS = (None, fakes.status(500, ECHO), fakes.garbage(), fakes.cut_before_headers(), fakes.error_frame_after(1, ECHO))
ASKED = {"model": "up/fake-large", "messages": [{"role": "user", "content": PROMPT}]}
OURS = ("uvicorn", "celery")


@dataclass(frozen=True)
class Seen:
    """What a day in the hub's life left behind."""

    up: Up
    secrets: tuple[str, ...]
    statuses: list[int]
    processes: dict[str, psutil.Process]
    queries: str
    metrics: str


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    settings = {"LLMHUB_LOG_LEVEL": "DEBUG", "LLMHUB_LOCAL_MODEL": "0"}
    first = {"LLMHUB_DEMO_KEY": API_KEY, "LLMHUB_ADMIN_PASSWORD": PASSWORD}
    with (
        passable_folder() as folder,
        FakeProvider("custom", text=ANSWER) as fake,
        running_up(folder / "home", **settings, **first) as up,
        up.client() as client,
    ):
        variables = dotenv_values(up.home / "runtime.env")
        processes = {" ".join(process.cmdline()): process for process in family(up.process.pid)}
        statuses = live_a_day(client, fake, valkey=next(p for argv, p in processes.items() if "valkey" in argv))
        with psycopg.connect(variables["DATABASE_URL"]) as connection:
            queries = connection.execute("SELECT string_agg(query, ' ') FROM pg_stat_activity").fetchone()[0]
        own = [value for name, value in variables.items() if name not in ("DATABASE_URL", "DATABASE_OWNER_URL")]
        redis_password = variables["REDIS_URL"].partition("@")[0].rpartition(":")[2]
        secrets = (API_KEY, PASSWORD, PROVIDER_KEY, PROMPT, ANSWER, redis_password, *filter(None, own))
        yield Seen(up, secrets, statuses, processes, queries, client.get("/metrics").text)


def live_a_day(client: httpx.Client, fake: FakeProvider, *, valkey: psutil.Process) -> list[int]:
    """Register, check and chat through faults, once without Valkey; return how each chat was answered."""
    sent = {"name": "up", "provider_type": "custom", "base_url": fake.url, "api_key": PROVIDER_KEY, "rate_limit": 1000}
    assert client.post("/api/providers/register", json=sent).status_code == 201
    until(lambda: "up" in client.get("/v1/models").text or client.get("/api/providers/models").json().get("up"))
    fake.probe_faults.extend([fakes.status(401, f"Incorrect API key: {PROVIDER_KEY}")] * 2)
    assert "[key]" in client.post("/api/providers/up/check").text
    assert client.post("/accounts/login/", data={"login": "admin", "password": f"{PASSWORD}-wrong"}).status_code == 403
    statuses = []
    for fake.always in FAULTS:
        statuses += chat(client)
    fake.always = None
    with stopped(valkey):
        return [*statuses, *chat(client)]


def chat(client: httpx.Client) -> list[int]:
    return [
        client.post("/v1/chat/completions", json=ASKED | {"stream": stream}).status_code for stream in (False, True)
    ]


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_no_log_at_any_level_holds_a_secret_or_a_prompt(seen):
    logs = {path.name: path.read_text() for path in (seen.up.home / "logs").iterdir()}

    assert {"web.log", "worker.log", "beat.log", "prepare.log", "postgres.log", "valkey.log"} <= set(logs)
    assert {name: held for name, text in logs.items() if (held := found(text, *seen.secrets))} == {}
    assert len(seen.statuses) == 2 * len(FAULTS) + 2
    assert seen.statuses[:2] == [200, 200]


def test_no_process_is_started_with_a_secret_among_its_arguments(seen):
    assert len(seen.processes) > 6
    assert {argv: held for argv in seen.processes if (held := found(argv, *seen.secrets))} == {}


def test_who_need_not_know_a_secret_has_none_in_its_environment(seen):
    environments = {}
    for argv, process in seen.processes.items():
        with suppress(psutil.NoSuchProcess):
            environments[argv] = str(process.environ())
    others = {argv: text for argv, text in environments.items() if not any(word in argv for word in OURS)}

    assert len(others) >= 2
    assert {argv: held for argv, text in others.items() if (held := found(text, *seen.secrets))} == {}
    assert {argv for argv, text in environments.items() if found(text, API_KEY, PASSWORD)} == set()


def test_neither_metrics_nor_running_queries_hold_a_secret(seen):
    files = b"".join(path.read_bytes() for path in (seen.up.home / "metrics").iterdir())

    assert "llmhub" in seen.metrics
    assert found(seen.metrics + files.decode("latin-1"), *seen.secrets) == []
    assert "ledger_append" in seen.queries
    assert found(seen.queries, *seen.secrets) == []

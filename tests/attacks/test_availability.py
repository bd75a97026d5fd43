"""What one caller may do to all others: nothing worth naming."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from psycopg import sql
from redis import Redis

from llmhub.access.keys import key_digest
from llmhub.access.models import ApiKey
from llmhub.access.principals import Scope
from llmhub.embedded.child_processes import Guard
from llmhub.runtime.database import conninfo
from llmhub.runtime.memory_budget import MemoryBudget
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, until
from tests.stack import running_valkey
from tests.streams.web import Web, running_web

POOL = 3
OWN = 4
"""The two lanes of the ledger, who hears of changes of the configuration, and who reads it."""

CALLERS = 60
MB = 1_000_000


@pytest.fixture(scope="module")
def role(django_db_setup: None, worker_id: str) -> Iterator[str]:
    """A role of the web process's own, by which its connections are told from others."""
    name = f"flooded_{worker_id}"
    with psycopg.connect(conninfo(), autocommit=True) as owner:
        made = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
        owner.execute(made.format(sql.Identifier(name), sql.Identifier(owner.info.user)))
        yield name
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "web.log"


@pytest.fixture(scope="module")
def redis_url(log: Path) -> Iterator[str]:
    """A Valkey of the web process's own, which may be frozen without others' noticing."""
    with Guard() as guard, running_valkey(guard, log.parent) as url:
        yield url


@contextmanager
def frozen(redis_url: str) -> Iterator[None]:
    with Redis.from_url(redis_url) as redis:
        server = psutil.Process(redis.info("server")["process_id"])
    server.suspend()
    try:
        yield
    finally:
        server.resume()


@pytest.fixture(scope="module")
def web(role: str, log: Path, redis_url: str) -> Iterator[Web]:
    database = {"DATABASE_URL": conninfo(user=role), "LLMHUB_DATABASE_POOL": str(POOL)}
    with running_web(log.parent, REDIS_URL=redis_url, **database) as process:
        yield process


@pytest.fixture
def silent(hub: LiveHub) -> Iterator[FakeProvider]:
    """A provider that answers no probe before it is release_connections_before_send."""
    with FakeProvider("custom") as fake:
        fake.probe_faults.extend([fakes.stall_before_headers()] * 1000)
        hub.add_provider(fake, name="silent", models=("m",), timeout=60)
        yield fake
        fake.release()


@pytest.fixture
def key(hub: LiveHub, silent: FakeProvider, web: Web) -> str:
    secret = hub.issue_key()
    web.learns_of(secret, "silent/m")
    return secret


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def connections_of(role: str, *, waiting_for: str = "") -> int:
    """Count connections of the role, or those of them that wait for something of this type."""
    counting = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND %s IN ('', wait_event_type)"
    with psycopg.connect(conninfo()) as connection:
        row = connection.execute(counting, [role, waiting_for]).fetchone()
        return int(row[0]) if row else 0


def is_let_in(web: Web, key: str) -> bool:
    return web.client.get("/v1/models", headers=bearer(key)).status_code == 200


def test_a_flood_of_probes_is_one_probe_and_holds_neither_the_database_nor_a_revoked_key(hub, web, key, silent, role):
    reader, other = hub.issue_key(scopes=(Scope.PROVIDERS_READ,)), hub.issue_key(scopes=(Scope.CHAT,))
    until(lambda: is_let_in(web, other))
    idle = web.process.num_threads()
    with httpx.Client(base_url=web.url, timeout=60, limits=httpx.Limits(max_connections=CALLERS)) as client:

        def probe() -> httpx.Response:
            return client.get("/api/providers/health?live=1", headers=bearer(reader))

        with ThreadPoolExecutor(CALLERS) as callers:
            flood = [callers.submit(probe) for _ in range(CALLERS)]
            until(lambda: web.process.num_threads() >= idle + CALLERS, within_s=30)
            held = connections_of(role)
            audit = web.client.get("/api/audit/chats", headers=bearer(key))
            ApiKey.objects.filter(digest=key_digest(other)).revoke(now=timezone.now())
            until(lambda: not is_let_in(web, other), within_s=1.5)
            probes = len(silent.requests)
            silent.release()
            answers = [future.result(60) for future in flood]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["silent"] for answer in answers} == {True}
    assert probes == 1
    assert held <= POOL + OWN
    assert audit.status_code == 200


def test_a_key_loses_its_force_at_once_while_pages_hold_every_connection_they_have(hub, web, key, role):
    revoked = hub.issue_key(scopes=(Scope.CHAT,))
    until(lambda: is_let_in(web, revoked))
    with ThreadPoolExecutor(POOL) as callers, psycopg.connect(conninfo()) as locking:
        locking.execute("LOCK TABLE chat_chat IN ACCESS EXCLUSIVE MODE")
        with httpx.Client(base_url=web.url, timeout=60) as client:
            for _ in range(POOL):
                callers.submit(client.get, "/api/audit/chats", headers=bearer(key))
            until(lambda: connections_of(role, waiting_for="Lock") == POOL)

            ApiKey.objects.filter(digest=key_digest(revoked)).revoke(now=timezone.now())

            until(lambda: not is_let_in(web, revoked), within_s=1.5)
            locking.rollback()


@pytest.fixture
def large_chat(hub: LiveHub, key: str) -> str:
    body = {"model": "nobody/m", "messages": [{"role": "user", "content": "x" * 16 * MB}]}
    chat_id: str = hub.client.post("/v1/chat/completions", json=body, headers=bearer(key)).headers["x-request-id"]
    return chat_id


@contextmanager
def not_taken(web: Web, key: str, chat_id: str, *, times: int) -> Iterator[list[int]]:
    """Ask for a chat so often without taking the answers; yield their status."""
    head = f"GET /api/audit/chats/{chat_id} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n"
    statuses = []
    with ExitStack() as stack:
        for _ in range(times):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", httpx.URL(web.url).port), timeout=60))
            reader.sendall(head.encode())
            statuses.append(int(reader.recv(12)[-3:]))
        yield statuses


def test_who_does_not_take_an_answer_holds_no_connection_to_the_database(web, key, large_chat):
    with not_taken(web, key, large_chat, times=2 * POOL) as statuses:
        assert statuses == [200] * 2 * POOL
        assert web.client.get("/api/providers", headers=bearer(key)).status_code == 200


def test_answers_that_are_not_taken_share_what_memory_there_is(web, key, large_chat):
    before_bytes = web.rss_bytes
    with not_taken(web, key, large_chat, times=12) as statuses:
        assert statuses[0] == 200
        assert statuses[-1] == 503
        assert web.client.get("/api/providers", headers=bearer(key)).status_code == 200
        assert web.rss_bytes - before_bytes < 650 * MB

    until(lambda: web.client.get(f"/api/audit/chats/{large_chat}", headers=bearer(key)).status_code == 200)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("a" * 60_000, id="long"),
        pytest.param("-eyJ" * 15_000, id="like-secrets"),
        pytest.param("sk-:@" * 12_000, id="odd"),
        pytest.param("evil.example", id="plain"),
    ],
)
def test_strangers_who_name_another_host_are_refused_without_a_line(web, log, host):
    size = len(log.read_text())

    answers = {web.client.get("/admin/", headers={"host": host}).status_code for _ in range(20)}

    lines = log.read_text()[size:].splitlines()
    assert answers == {400}
    assert [line for line in lines if '"logger": "django' in line or host[:40] in line] == []


def took_s(work: Callable[[], httpx.Response]) -> float:
    began_s = time.monotonic()
    answer = work()
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began_s


def test_a_frozen_broker_costs_no_caller_more_than_a_second(hub, web, key, redis_url, upstream):
    hub.add_provider(upstream, name="limited", models=("m",), rate_limit=1000)
    web.learns_of(key, "limited/m")
    headers = bearer(key)
    chat = {"model": "limited/m", "messages": [{"role": "user", "content": "Hello."}]}
    calls = [
        lambda: web.client.patch("/api/providers/limited", json={"priority": 7}, headers=headers),
        lambda: web.client.get("/api/status", headers=headers),
        lambda: web.client.post("/v1/chat/completions", json=chat, headers=headers),
    ]
    usual_s = [took_s(call) for call in calls]

    with frozen(redis_url):
        held_up_s = [took_s(call) for call in calls * 2]

    assert all(held < usual + 1 for held, usual in zip(held_up_s, usual_s * 2, strict=True)), (usual_s, held_up_s)


def test_run_now_of_many_tasks_waits_for_a_frozen_broker_once(hub, web, redis_url, client):
    admin = User.objects.create_superuser("ann")
    try:
        client.force_login(admin)
        cookies = {name: cookie.value for name, cookie in client.cookies.items()} | {"csrftoken": "a" * 32}
        tasks = [str(pk) for pk in PeriodicTask.objects.values_list("pk", flat=True)]
        form = {"action": "run_now", "_selected_action": tasks, "csrfmiddlewaretoken": "a" * 32}
        with httpx.Client(base_url=web.url, cookies=cookies, follow_redirects=True, timeout=60) as browser:
            page = "/admin/django_celery_beat/periodictask/"
            usual_s = took_s(lambda: browser.post(page, data=form))

            with frozen(redis_url):
                held_up_s = took_s(lambda: browser.post(page, data=form))
    finally:
        admin.delete()

    assert len(tasks) > 5
    assert held_up_s < usual_s + 1


def take_writes(role: str, *, is_allowed: bool) -> None:
    """Let a role write, or not; what it has open is closed, so that it notices."""
    setting = "RESET default_transaction_read_only" if is_allowed else "SET default_transaction_read_only = on"
    with psycopg.connect(conninfo(), autocommit=True) as owner:
        owner.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(setting)))
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])


def test_a_database_that_takes_no_writes_is_told_before_a_chat_finds_out(hub, web, key, role):
    until(lambda: web.client.get("/readyz").status_code == 200)
    take_writes(role, is_allowed=False)
    try:
        until(lambda: web.client.get("/readyz").status_code == 503, within_s=3)
        status = web.client.get("/api/status", headers=bearer(key)).json()
    finally:
        take_writes(role, is_allowed=True)

    until(lambda: web.client.get("/readyz").status_code == 200)
    assert (status["status"], status["database"]) == ("degraded", False)
    assert status["pending_actions"][0]["code"] == "database_read_only"


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "before-another"])
async def test_callers_who_leave_as_others_end_neither_fail_these_nor_take_their_room_along(others: int):
    budget = MemoryBudget(100)
    ending = budget.holding("good")
    ending.take(50)
    leaving = [asyncio.create_task(budget.holding("evil").take_when_free(40, timeout_s=60.0)) for _ in range(20)]
    staying = [asyncio.create_task(budget.holding("evil").take_when_free(30, timeout_s=60.0)) for _ in range(others)]
    await asyncio.sleep(0)

    for task in leaving:
        task.cancel()
    ending.give_back()  # before those who were cancelled run again
    ended = await asyncio.gather(*leaving, return_exceptions=True)
    await asyncio.gather(*staying)

    assert {type(error) for error in ended} == {asyncio.CancelledError}
    assert budget.held_bytes == 30 * others

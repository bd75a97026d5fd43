"""What those without a key in force cost the hub, and what those with one may cost others: one web process."""

from __future__ import annotations

import random
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from chat.history.models import Chat
from chat.ledger.models import ChatContent, LedgerEvent
from llmhub.access.keys import key_digest
from llmhub.access.models import ApiKey
from llmhub.runtime.database import conninfo
from tests.fakes import FakeProvider
from tests.live import LiveHub, until
from tests.streams.web import ADDRESSES, Web, running_web

MB = 1_000_000
PATH = "/v1/chat/completions"
DECLARED = 33_553_408
QUESTION = b'{"role":"user","content":"Hello"}'
CHAT = b'{"model":"up/m","messages":[%b]}' % QUESTION
BOMB = b'{"x":["base64,",' + b"{}," * 10_800_000 + b"1]}"
NO_TEXT = b'{"model":"up/m","messages":[{"role":"user","content":"' + b"\xff" * 31 * MB + b'"}]}'
OBJECTS = b'{"model":"up/m","messages":[%b],"x":[' % QUESTION + b"{}," * 10_300_000 + b"1]}"
EMOJI = b'{"model":"up/m","messages":[{"role":"user","content":"' + b"x" * 20 * MB + "😀".encode() + b'"}]}'
WITHIN_S = 60.0


@dataclass
class Stage:
    """A web process as it is run in production, and keys that it knows."""

    web: Web
    hub: LiveHub
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.web.url.rpartition(":")[2])

    def post(self, body: bytes, key: str, *, path: str = PATH) -> httpx.Response:
        headers = {"content-type": "application/json", "x-api-key": self.keys.get(key, key)}
        return httpx.post(self.web.url + path, content=body, headers=headers, timeout=WITHIN_S)

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WITHIN_S, source_address=(address, 0))

    def begin(self, key: str | None, *, sent: int) -> socket.socket:
        """Announce a large body, send a part of it, and stay."""
        connection = self.connect()
        credentials = f"x-api-key: {self.keys.get(key, key)}\r\n" if key else ""
        head = f"POST {PATH} HTTP/1.1\r\nhost: hub\r\n{credentials}content-length: {DECLARED}\r\n\r\n"
        with suppress(ConnectionError):  # whoever is refused need not be listened to
            connection.sendall(head.encode() + b"x" * sent)
        return connection

    def is_form_awaited(self, stack: ExitStack, *, source: str, size_bytes: int) -> bool:
        """Announce a form, send none of it, and stay; say whether it was not refused at once."""
        connection = socket.create_connection(("127.0.0.1", self.port), 0.03, source_address=(source, 0))
        stack.enter_context(connection)
        head = f"POST /admin/login/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size_bytes}\r\n\r\n"
        connection.sendall(head.encode())
        try:
            connection.recv(1)
        except TimeoutError:
            return True
        return False

    @contextmanager
    def memory_watched(self) -> Iterator[Memory]:
        with Memory(self.web) as memory:
            yield memory


class Memory:
    """How much more memory than before a process takes at most, until the end of the block."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before_bytes = self._most_bytes = web.rss_bytes

    @property
    def grown_mb(self) -> float:
        return (self._most_bytes - self._before_bytes) / MB

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._most_bytes = max(self._most_bytes, self._web.rss_bytes)


@contextmanager
def furnished(web: Web, hub: LiveHub, upstream: FakeProvider) -> Iterator[Stage]:
    hub.add_provider(upstream, name="up", models=("m",), timeout=60)
    found = Stage(web, hub)
    for name, scopes in {"good": ("chat",), "revoked": ("chat",), "unscoped": ("audit:read",)}.items():
        found.keys[name] = hub.issue_key(application=name, scopes=scopes)
    web.learns_of(found.keys["good"], "up/m")
    ApiKey.objects.filter(digest=key_digest(found.keys["revoked"])).revoke(now=timezone.now())
    until(lambda: web.client.get("/v1/models", headers={"x-api-key": found.keys["revoked"]}).status_code == 401)
    yield found


@pytest.fixture
def stage(hub: LiveHub, upstream: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A process of the test's own: what memory it takes tells of nothing else, and nobody has guessed at it."""
    with running_web(tmp_path_factory.mktemp("logs")) as web, furnished(web, hub, upstream) as found:
        yield found


@pytest.fixture(scope="module")
def shared_web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    with running_web(tmp_path_factory.mktemp("logs")) as web:
        yield web
    with django_db_blocker.unblock():
        Chat.objects.all().delete()  # what was counted is recorded at the end


@pytest.fixture
def shared_stage(shared_web: Web, hub: LiveHub, upstream: FakeProvider) -> Iterator[Stage]:
    """A process that others have met before: who guesses or stays there does so from an address of their own."""
    with furnished(shared_web, hub, upstream) as found:
        yield found


def test_a_key_that_may_not_chat_costs_its_headers_whatever_it_sends(stage):
    with stage.memory_watched() as memory:
        answers = [stage.post(BOMB, key) for key in ("revoked", "unscoped", "lh_unknown") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [401] * 3 + [403] * 3 + [401] * 3
    assert memory.grown_mb < 20
    assert not ChatContent.objects.filter(chat_id__in=[answer.headers["x-request-id"] for answer in answers]).exists()


def test_who_has_no_key_is_answered_before_the_body_and_holds_no_memory(stage):
    with ExitStack() as stack, stage.memory_watched() as memory:
        connections = [stack.enter_context(stage.begin(None, sent=31 * MB)) for _ in range(8)]

        assert [connection.recv(12) for connection in connections] == [b"HTTP/1.1 401"] * 8
    assert memory.grown_mb < 50


def test_strangers_at_many_addresses_take_no_room_from_chats(shared_stage):
    stage = shared_stage
    with ExitStack() as stack:
        for number in range(2, 20):
            for size_bytes in (MB, MB // 4, MB // 16, MB // 64, MB // 256, 512):
                while stage.is_form_awaited(stack, source=f"127.0.0.{number}", size_bytes=size_bytes):
                    pass
        began_s = time.monotonic()
        answer = stage.post(CHAT, "good")

    assert (answer.status_code, time.monotonic() - began_s < 5) == (200, True)


@pytest.mark.parametrize(
    ("waiting", "address"),
    [
        pytest.param(b"POST /v1/chat/completions HTTP/1.1\r\nx-api-key: lh_of_nobody\r\n", "127.0.0.51", id="chat"),
        pytest.param(b"POST /api/providers HTTP/1.1\r\nx-api-key: lh_of_nobody\r\n", "127.0.0.52", id="api"),
        pytest.param(b"POST /admin/login/ HTTP/1.1\r\nx: x\r\n", "127.0.0.53", id="form"),
    ],
)
def test_requests_of_strangers_that_only_wait_keep_nobody_out(shared_stage, waiting, address):
    is_whole = b"admin" not in waiting
    head = waiting + b"host: localhost\r\ncontent-length: 2\r\n\r\n" + (b"{}" if is_whole else b"")
    with ExitStack() as stack:
        for _ in range(1024 + 60):  # an address's, and the guesses that wait less than a few seconds
            stack.enter_context(shared_stage.connect(address)).sendall(head)
        for _ in range(3):
            late = stack.enter_context(shared_stage.connect(address))
            late.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert late.recv(12) == b"HTTP/1.1 200"


def test_sessions_that_nobody_has_are_slowed_as_unknown_keys_are(stage):
    head = "POST {} HTTP/1.1\r\nhost: localhost\r\ncookie: sessionid={:032}\r\ncontent-length: 2\r\n\r\n{{}}"
    with ExitStack() as stack:
        connections = [stack.enter_context(stage.connect()) for _ in range(40)]
        for number, connection in enumerate(connections):
            connection.sendall(head.format(PATH, number).encode())
        readable = 0
        while answered := select.select(connections, (), (), 2.5)[0]:
            readable += len(answered)
            connections = [connection for connection in connections if connection not in answered]

    assert readable == 20


def test_a_revoked_key_leaves_one_entry_and_a_number_and_next_to_nothing_on_disk(shared_stage):
    noise = random.Random(1).randbytes(MB).hex().encode()  # which takes its size on disk
    with psycopg.connect(conninfo(), autocommit=True) as database:
        size = "SELECT pg_database_size(current_database())"
        before = database.execute(size).fetchone()[0]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: shared_stage.post(noise, "revoked"), range(40)))
        grown = database.execute(size).fetchone()[0] - before

    assert {answer.status_code for answer in answers} == {401}
    assert grown < MB
    assert Chat.objects.filter(application="revoked").count() == 1
    entries = LedgerEvent.objects.filter(chat_id__in={answer.headers["x-request-id"] for answer in answers})
    assert [entry.event["content_bytes"] for entry in entries] == [2 * MB]


def test_how_often_a_key_was_refused_is_recorded_when_the_process_stops(hub, upstream, tmp_path):
    with running_web(tmp_path) as web:
        key = hub.issue_key(application="unscoped", scopes=("audit:read",))
        headers = {"x-api-key": key}
        until(lambda: web.client.get("/v1/models", headers=headers).status_code == 403)
        answers = [web.client.post(PATH, content=CHAT, headers=headers) for _ in range(7)]

    first, *others = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(others)) == 1
    events = {str(event.chat_id): event.event for event in LedgerEvent.objects.filter(chat_id__in=[first, *others])}
    assert "repeats" not in events[first]
    assert events[others[0]]["repeats"] == 6
    shown = hub.client.get(f"/api/audit/chats/{others[0]}", headers=headers).json()
    assert [event["repeats"] for event in shown["events"] if event["kind"] == "void"] == [6]


def test_a_body_that_is_refused_costs_a_few_times_its_size(stage):
    bodies = {BOMB: "too_many_json_values", OBJECTS: "too_many_json_values", NO_TEXT: "invalid_json"}
    with stage.memory_watched() as memory:
        answers = [stage.post(body, "good") for body in bodies]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [(400, code) for code in bodies.values()]
    assert memory.grown_mb < 8 * min(map(len, bodies)) / MB


@pytest.mark.soak
def test_large_bodies_of_one_key_share_what_memory_there_is_and_another_key_finds_room(stage):
    stage.keys["other"] = stage.hub.issue_key(application="other")
    stage.web.learns_of(stage.keys["other"], "up/m")

    with ThreadPoolExecutor(12) as pool, stage.memory_watched() as memory:
        large = [pool.submit(stage.post, EMOJI, "good") for _ in range(10)]
        small = pool.submit(stage.post, CHAT, "other").result()
        answers = [one.result() for one in large]

    assert small.status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert 200 in {answer.status_code for answer in answers}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
    assert stage.post(EMOJI.replace(b"x" * MB, b"x" * 2 * MB, 8), "good").json()["error"]["code"] == "request_too_large"
    assert memory.grown_mb < 560
    until(lambda: stage.web.rss_bytes / MB < 300, within_s=WITHIN_S)


def test_bodies_that_do_not_come_hold_their_keys_share_only(stage):
    stage.keys["other"] = stage.hub.issue_key(application="other")
    stage.web.learns_of(stage.keys["other"], "up/m")

    with ExitStack() as stack, stage.memory_watched() as memory:
        for _ in range(40):
            stack.enter_context(stage.begin("good", sent=200_000))
        other = stage.post(CHAT[:-1] + b',"pad":"' + b"x" * 20 * MB + b'"}', "other")

    assert other.status_code == 200
    assert memory.grown_mb < 300


@pytest.mark.parametrize("path", ["/api/providers", "/v1/models"])
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_guesses_from_one_address_are_slowed_and_a_good_key_there_is_not(shared_stage, path, header):
    prefix = "Bearer " if header == "authorization" else ""
    answered = 0

    def guess(number: int) -> None:
        nonlocal answered
        with suppress(httpx.TimeoutException):
            client.get(path, headers={header: f"{prefix}lh_guess{number}"}, timeout=2)
            answered += 1

    with shared_stage.web.client_at(next(ADDRESSES)) as client, ThreadPoolExecutor(40) as pool:
        list(pool.map(guess, range(40)))
        good = client.post(PATH, content=CHAT, headers={"x-api-key": shared_stage.keys["good"]})

    assert good.status_code == 200
    assert answered <= 25


@contextmanager
def limit_of_files(soft: int, hard: int) -> Iterator[None]:
    """Let what is started meanwhile have so many open files. Only the soft limit is this process's own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thousand_silent_connections_do_not_shut_the_hub(django_db_setup, tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with limit_of_files(1024, hard), running_web(tmp_path) as web, ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for _ in range(1100):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])), timeout=WITHIN_S)
            )

            if _ % 100 == 0:
                assert httpx.get(web.url + "/healthz", timeout=WITHIN_S).status_code == 200
        assert httpx.get(web.url + "/healthz", timeout=WITHIN_S).status_code == 200


def test_who_asks_whether_it_is_ready_hears_of_the_stop_before_the_listener_closes(django_db_setup, tmp_path):
    with running_web(tmp_path, LLMHUB_STOP_NOTICE_S="3") as web:
        began_s = time.monotonic()
        web.process.terminate()
        until(lambda: httpx.get(web.url + "/readyz").status_code == 503)
        faults = httpx.get(web.url + "/readyz").json()["faults"]
        alive = httpx.get(web.url + "/healthz").status_code

        until(lambda: not web.process.is_running() or web.process.status() == "zombie", within_s=WITHIN_S)

    assert (faults, alive) == (["the process is stopping"], 200)
    assert 3 <= time.monotonic() - began_s < 20

"""The process beside web that answers large bodies: a web process as it is run in production."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from chat.history.models import Chat
from chat.ledger.models import ChatContent, LedgerEvent, LedgerWriterRecord
from llmhub.http.bulk_process import BULK_BYTES
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, until
from tests.llmhub.embedded.processes import runs
from tests.streams.web import Web, running_web

PATH = "/v1/chat/completions"
WITHIN_S = 30.0


def chat(text: str) -> bytes:
    return json.dumps({"model": "up/m", "messages": [{"role": "user", "content": text}]}).encode()


SMALL, LARGE = chat("Hello"), chat("Hello " * (BULK_BYTES // 6 + 1))


@dataclass
class Stage:
    web: Web
    upstream: FakeProvider
    key: str

    def caller(self) -> httpx.Client:
        """One caller, who keeps its connection."""
        headers, limits = {"x-api-key": self.key}, httpx.Limits(max_connections=1)
        return httpx.Client(base_url=self.web.url, headers=headers, timeout=WITHIN_S, limits=limits)

    def post(self, body: bytes) -> httpx.Response:
        """Ask over a connection of its own."""
        with self.caller() as caller:
            return caller.post(PATH, content=body)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", int(self.web.url.rpartition(":")[2])), timeout=WITHIN_S)

    def head(self, *headers: str) -> bytes:
        lines = (f"POST {PATH} HTTP/1.1", "host: hub", f"x-api-key: {self.key}", *headers, "", "")
        return "\r\n".join(lines).encode()

    def check_slow_sender(self) -> None:
        """Send a head by and by, and the body once that is wanted."""
        head = self.head(f"content-length: {len(LARGE)}", "connection: close", "expect: 100-continue")
        with self.connect() as connection:
            for at in range(0, len(head), 40):
                connection.sendall(head[at : at + 40])
            assert connection.recv(12) == b"HTTP/1.1 100"
            connection.sendall(LARGE)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"HTTP/1.1 200 OK" in answer
        assert self.upstream.chats[-1].json["messages"] == json.loads(LARGE)["messages"]

    def counted_chats(self) -> float:
        """Return how many chats web says that there were."""
        lines = self.web.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("llmhub_chats_total{"))

    @property
    def bulk(self) -> psutil.Process | None:
        return next(iter(self.web.process.children()), None)

    def recorded(self, answer: httpx.Response) -> bytes:
        asked = LedgerEvent.objects.get(chat_id=answer.headers["x-request-id"], kind="intent")
        return bytes(ChatContent.objects.get(id=asked.id).body)

    def is_by_web(self, answer: httpx.Response) -> bool:
        """Tell which process recorded what was answered."""
        event = LedgerEvent.objects.filter(chat_id=answer.headers["x-request-id"])[0]
        return LedgerWriterRecord.objects.get(writer_id=event.writer_id).pid == self.web.process.pid


@pytest.fixture
def stage(hub: LiveHub, upstream: FakeProvider, tmp_path: Path) -> Iterator[Stage]:
    hub.add_provider(upstream, name="up", models=("m",), timeout=60)
    with running_web(tmp_path, STREAMS_BULK="1") as web:
        key = hub.issue_key(scopes=("chat",))
        web.learns_of(key, "up/m")
        yield Stage(web, upstream, key)


def test_one_connection_serves_large_bodies_and_small_ones_in_turn_each_by_its_own_process(stage):
    bodies = (SMALL, LARGE, SMALL, LARGE, LARGE, SMALL)
    with stage.caller() as caller:
        answers = [caller.post(PATH, content=body) for body in bodies]
        undeclared = caller.post(PATH, content=iter([SMALL[:10], SMALL[10:]]))

    assert [answer.status_code for answer in (*answers, undeclared)] == [200] * 7
    assert [stage.is_by_web(answer) for answer in answers] == [body is SMALL for body in bodies]
    assert not stage.is_by_web(undeclared)
    assert [stage.recorded(answer) for answer in (*answers, undeclared)] == [*bodies, SMALL]
    stage.check_slow_sender()
    assert stage.counted_chats() == 8


def test_neither_hanging_nor_killed_does_the_process_for_large_bodies_keep_small_ones_waiting(stage):
    with ThreadPoolExecutor() as pool:
        assert stage.post(LARGE).status_code == 200
        stage.bulk.suspend()
        waiting = [pool.submit(stage.post, LARGE) for _ in range(2)]

        small = [stage.post(SMALL).status_code for _ in range(5)]
        were_done = [answer.done() for answer in waiting]
        stage.bulk.resume()

        assert (small, were_done) == ([200] * 5, [False, False])
        assert [answer.result(WITHIN_S).status_code for answer in waiting] == [200, 200]

    stage.bulk.kill()
    until(lambda: stage.bulk is None, within_s=WITHIN_S)

    assert stage.post(SMALL).status_code == 200
    another = stage.post(LARGE)
    assert (another.status_code, stage.is_by_web(another)) == (200, False)


def test_a_large_chat_in_progress_is_answered_when_web_stops(stage):
    stage.upstream.fail(fakes.stall_before_headers())
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(stage.post, LARGE)
        until(lambda: stage.upstream.requests, within_s=WITHIN_S)
        stage.web.process.terminate()
        until(lambda: not is_listening(stage), within_s=WITHIN_S)
        stage.upstream.release()

        assert answer.result(WITHIN_S).status_code == 200
    assert Chat.objects.get().status == "succeeded"


def is_listening(stage: Stage) -> bool:
    try:
        stage.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_ends_when_web_is_killed(stage):
    assert stage.post(LARGE).status_code == 200
    bulk = stage.bulk

    stage.web.process.kill()

    until(lambda: not runs(bulk), within_s=WITHIN_S)


def test_a_large_body_behind_a_request_that_is_still_answered_is_refused(stage):
    with stage.connect() as connection:
        large = stage.head(f"content-length: {len(LARGE)}")
        with suppress(ConnectionResetError):
            connection.sendall(stage.head(f"content-length: {len(SMALL)}") + SMALL + large + LARGE)
            while connection.recv(65536):
                pass

    assert stage.bulk is None
    assert max((len(request.body) for request in stage.upstream.requests), default=0) < BULK_BYTES


def test_a_large_request_that_began_together_with_an_earlier_one_is_never_handed_over_in_part(stage):
    small = stage.head(f"content-length: {len(SMALL)}") + SMALL
    rest_like_a_request = stage.head(f"content-length: {len(LARGE)}", "connection: close")
    with stage.connect() as connection:
        connection.sendall(small + f"POST {PATH} HTTP/1.1\r\nx: ".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(rest_like_a_request + LARGE)
            while piece := connection.recv(65536):
                answer += piece

    assert b"HTTP/1.1 200" not in answer
    assert len(stage.upstream.chats) == 1

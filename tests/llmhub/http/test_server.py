"""The server's bounds on heads of requests, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
import uvicorn

from llmhub.http.connection_bounds import ConnectionBounds
from llmhub.http.request_bodies import close_after_answer
from llmhub.http.server import BoundedHttpProtocol
from tests.live import until

WITHIN_S = 10.0
GET = b"GET /a HTTP/1.1\r\nhost: hub\r\n\r\n"


class HastyProtocol(BoundedHttpProtocol):
    head_s = 0.5
    linger_s = 0.1


class Served:
    """An ASGI application that answers with what it was asked, lets `/held` wait, `/endless` till callers go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.held = threading.Event()
        self.is_left = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", scope["path"] not in ("/early", "/unread")
        if scope["path"] == "/unread":
            close_after_answer(scope)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/held":
            self.held.set()
            await asyncio.to_thread(self.release.wait, WITHIN_S)
        if scope["path"] == "/endless":
            await self._go_on_until_left(receive, send)
        said = {
            "path": scope["path"],
            "body": body.decode(),
            "headers": [name.decode() for name, _ in scope["headers"]],
        }
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def _go_on_until_left(self, receive: Any, send: Any) -> None:
        leaving = asyncio.ensure_future(receive())
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await asyncio.wait({leaving}, timeout=0.01)
        self.is_left.set()


class Server:
    def __init__(self, protocol: type[BoundedHttpProtocol]) -> None:
        self.app = Served()
        config = uvicorn.Config(self.app, port=0, log_config=None, lifespan="off", ws="none", http=protocol)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        until(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.app.release.set()
        self._server.should_exit = True
        self._thread.join(WITHIN_S)

    def connect(self) -> Connection:
        return Connection(socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN_S))


class Connection:
    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def send(self, data: bytes) -> None:
        self.is_closed_to(data)

    def is_closed_to(self, data: bytes) -> bool:
        """Send, and say whether the server takes nothing any more."""
        try:
            self._wire.sendall(data)
        except ConnectionError:
            return True
        return False

    def read_until(self, mark: bytes) -> bytes:
        """Return what comes, up to and with a mark."""
        found = b""
        while mark not in found:
            piece = self._wire.recv(65536)
            assert piece, f"The server closed after {found!r}."
            found += piece
        return found

    def read_to_the_end(self) -> bytes:
        """Return what comes until the server closes; with callers that still send, it resets."""
        found = b""
        with suppress(ConnectionResetError):
            while piece := self._wire.recv(65536):
                found += piece
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(BoundedHttpProtocol) as running:
        yield running


@pytest.fixture
def hasty() -> Iterator[Server]:
    with Server(HastyProtocol) as running:
        yield running


def error_of(reply: bytes) -> tuple[int, str, str]:
    head, _, body = reply.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    return int(head.split(b" ")[1]), error["code"], error["message"]


def test_a_head_that_does_not_end_is_refused_in_time(hasty):
    with hasty.connect() as caller:
        caller.send(b"GET / HTTP/1.1\r\nhost: hub\r\nx-slow: ")

        assert error_of(caller.read_to_the_end()) == (
            408,
            "request_timeout",
            "The headers did not arrive within 0.5 s.",
        )


def test_a_trickle_of_headers_does_not_put_the_end_off(hasty):
    with hasty.connect() as caller:
        caller.send(GET)
        caller.read_until(b"0\r\n\r\n")
        reply = threading.Event()
        closed = threading.Thread(target=lambda: (caller.read_until(b"408"), reply.set()))
        closed.start()
        for n in range(2000):
            if reply.wait(0.02):
                break
            caller.send(b"x-%d: 1\r\n" % n if n else b"GET /b HTTP/1.1\r\n")
        closed.join()

        assert n < 1000


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "an empty line"])
def test_a_connection_without_a_request_is_closed_in_time(hasty, sent):
    with hasty.connect() as caller:
        caller.send(sent)

        assert caller.read_to_the_end() == b""


def test_empty_lines_after_an_answer_do_not_keep_a_connection(hasty):
    with hasty.connect() as caller:
        caller.send(GET)
        caller.read_until(b"0\r\n\r\n")
        caller.send(b"\r\n")

        assert caller.read_to_the_end() == b""


@pytest.mark.slow
def test_a_connection_may_be_idle_longer_than_a_head_may_take(hasty):
    with httpx.Client(base_url=f"http://127.0.0.1:{hasty.port}") as client:
        first = client.get("/one")
        stream = first.extensions["network_stream"]
        threading.Event().wait(HastyProtocol.head_s * 2)
        second = client.get("/two")

        assert second.json()["path"] == "/two"
        assert second.extensions["network_stream"] is stream


@pytest.mark.slow
def test_an_answer_may_take_longer_than_a_head_even_with_another_head_begun_behind_it(hasty):
    with hasty.connect() as caller:
        caller.send(b"GET /held HTTP/1.1\r\nhost: hub\r\n\r\nGET /next HTTP/1.1\r\n")
        assert hasty.app.held.wait(WITHIN_S)
        threading.Event().wait(HastyProtocol.head_s * 2)
        hasty.app.release.set()
        first = caller.read_until(b"0\r\n\r\n")

        assert b'"/held"' in first
        assert b" 408 " in caller.read_to_the_end()


def test_a_body_refused_early_is_not_read_for_ever(hasty):
    with hasty.connect() as caller:
        caller.send(b"POST /early HTTP/1.1\r\nhost: hub\r\ncontent-length: 100\r\n\r\nx")
        caller.read_until(b"0\r\n\r\n")
        caller.send(b"x")

        assert caller.read_to_the_end() == b""


UNREAD = b"POST /unread HTTP/1.1\r\nhost: hub\r\ncontent-length: 31000000\r\n\r\n"


def test_an_answer_to_a_request_that_is_not_read_comes_at_once_and_ends_the_connection(server):
    with server.connect() as caller:
        caller.send(UNREAD)

        assert b"connection: close" in caller.read_until(b"0\r\n\r\n")
        assert caller.read_to_the_end() == b""


@pytest.mark.slow
def test_who_still_sends_can_read_the_answer_to_a_request_that_is_not_read(server):
    with server.connect() as caller:
        caller.send(UNREAD + b"x" * 31_000_000)

        assert b'"/unread"' in caller.read_to_the_end()


@pytest.mark.slow
def test_what_follows_a_request_that_is_not_read_is_thrown_away(server):
    with server.connect() as caller:
        caller.send(UNREAD)
        caller.read_until(b"0\r\n\r\n")
        caller.send(b"x" * 31_000_000 + GET)

        assert caller.read_to_the_end() == b""


def test_who_sends_on_after_an_answer_is_closed_in_time(hasty):
    with hasty.connect() as caller:
        caller.send(UNREAD)
        caller.read_until(b"0\r\n\r\n")
        until(lambda: caller.is_closed_to(b"x"), within_s=WITHIN_S)


def test_a_request_that_is_whole_keeps_its_connection_though_it_is_not_read(server):
    with server.connect() as caller:
        caller.send(b"POST /unread HTTP/1.1\r\nhost: hub\r\ncontent-length: 1\r\n\r\nx")
        assert b"connection: close" not in caller.read_until(b"0\r\n\r\n")
        caller.send(GET)

        assert b'"/a"' in caller.read_until(b"0\r\n\r\n")


@pytest.fixture
def crowded() -> Iterator[Server]:
    """A server that has room for three connections."""

    class CrowdedProtocol(BoundedHttpProtocol):
        bounds = ConnectionBounds()

    CrowdedProtocol.bounds.max_per_address = 3
    with Server(CrowdedProtocol) as running:
        yield running


def test_a_connection_that_was_silent_longest_makes_room_for_a_new_one(crowded):
    with crowded.connect() as first, crowded.connect() as second, crowded.connect() as third, crowded.connect() as new:
        assert first.read_to_the_end() == b""
        for caller in (second, third, new):
            caller.send(GET)
            assert b'"/a"' in caller.read_until(b"0\r\n\r\n")


def test_who_comes_when_all_connections_are_at_work_is_told_so(crowded):
    with ExitStack() as stack:
        for _ in range(3):
            caller = stack.enter_context(crowded.connect())
            caller.send(b"GET /held HTTP/1.1\r\nhost: hub\r\n\r\n")
            assert crowded.app.held.wait(WITHIN_S)
            caller.read_until(b"\r\n\r\n")
        late = stack.enter_context(crowded.connect())

        assert error_of(late.read_to_the_end())[:2] == (503, "too_many_connections")


TOO_LARGE = (431, "headers_too_large", "The request's head is larger than 65536 bytes or 200 headers.")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"x-long: " + b"v" * 65536 + b"\r\n\r\n", id="a long value"),
        pytest.param(b"x" * 70_000 + b": v\r\n\r\n", id="a long name"),
        pytest.param(b"x-endless: " + b"v" * 200_000, id="an endless value"),
        pytest.param(b"".join(b"x-%d: v\r\n" % n for n in range(201)) + b"\r\n", id="many headers"),
        pytest.param(b"".join(b"x-%d: v\r\n" % n for n in range(20_000)), id="endless headers"),
    ],
)
def test_a_large_head_is_refused(server, head):
    with server.connect() as caller:
        caller.send(b"GET / HTTP/1.1\r\n" + head)

        assert error_of(caller.read_to_the_end()) == TOO_LARGE


def test_a_large_url_is_refused(server):
    with server.connect() as caller:
        caller.send(b"GET /?" + b"q" * 65536 + b" HTTP/1.1\r\nhost: hub\r\n\r\n")

        assert error_of(caller.read_to_the_end()) == TOO_LARGE


def test_a_head_up_to_the_bounds_is_served(server):
    with server.connect() as caller:
        headers = b"".join(b"x-%d: %b\r\n" % (n, b"v" * 310) for n in range(199))
        caller.send(b"GET /a HTTP/1.1\r\nhost: hub\r\n" + headers + b"\r\n")

        assert caller.read_until(b"0\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS"),
        pytest.param(b"hello\r\n\r\n", id="text"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a version that is not"),
        pytest.param(b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET / HTTP/1.1\r\nx y: a\r\n\r\n", id="a space in a name"),
        pytest.param(b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n", id="a folded header"),
        pytest.param(b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", id="two lengths"),
        pytest.param(
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="two framings"
        ),
        pytest.param(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnothex\r\n", id="a bad chunk"),
    ],
)
def test_what_is_no_http_is_refused(server, sent):
    with server.connect() as caller:
        caller.send(sent)

        assert error_of(caller.read_to_the_end())[:2] == (400, "invalid_http")


def test_requests_sent_ahead_are_answered_in_order(server):
    with server.connect() as caller:
        caller.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: hub\r\n\r\n" % n for n in range(30)))
        found = caller.read_until(b'"/29"')

        assert [b'"/%d"' % n in found for n in range(30)] == [True] * 30
        assert sorted(range(30), key=lambda n: found.index(b'"/%d"' % n)) == list(range(30))


def test_a_fault_in_a_head_is_named(server):
    with server.connect() as caller:
        caller.send(b"POST / HTTP/1.1\r\nhost: hub\r\ncontent-length: abc\r\n\r\n")

        assert error_of(caller.read_to_the_end())[2].endswith("HTTP: Invalid character in Content-Length.")


def test_garbage_behind_a_request_does_not_fall_into_its_answer(server):
    with server.connect() as caller:
        caller.send(b"GET /held HTTP/1.1\r\nhost: hub\r\n\r\n\x00garbage\r\n\r\n")
        assert server.app.held.wait(WITHIN_S)
        server.app.release.set()
        found = caller.read_to_the_end()

        assert b"400" not in found
        assert found.startswith(b"HTTP/1.1 200")
        assert found.endswith(b"0\r\n\r\n")


def test_who_sends_more_than_was_declared_is_answered_for_what_was(server):
    with server.connect() as caller:
        caller.send(b"POST /a HTTP/1.1\r\nhost: hub\r\ncontent-length: 2\r\n\r\nhi, and more\r\n\r\n")
        found = caller.read_to_the_end()

        assert found.startswith(b"HTTP/1.1 200")
        assert b'"body": "hi"' in found


def test_what_follows_a_chunked_body_is_no_header(server):
    with server.connect() as caller:
        head = b"POST /a HTTP/1.1\r\nhost: hub\r\ntransfer-encoding: chunked\r\n\r\n"
        caller.send(head + b"2\r\nhi\r\n0\r\nx-api-key: smuggled\r\n\r\n")
        reply = json.loads(caller.read_until(b"0\r\n\r\n").split(b"\r\n")[-4])

        assert (reply["body"], reply["headers"]) == ("hi", ["host", "transfer-encoding"])


def test_what_follows_a_chunked_body_is_bounded(server):
    with server.connect() as caller:
        caller.send(b"POST /a HTTP/1.1\r\nhost: hub\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: ")
        caller.send(b"v" * 200_000)

        assert error_of(caller.read_to_the_end()) == TOO_LARGE


def test_a_large_body_with_another_request_behind_it_is_served(server):
    with server.connect() as caller:
        caller.send(b"POST /a HTTP/1.1\r\nhost: hub\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000)
        caller.send(b"GET /b HTTP/1.1\r\nhost: hub\r\n\r\nGET /c HTTP/1.1\r\nhost: hub\r\n\r\n")
        found = caller.read_until(b'"/c"')

        assert found.index(b'"/a"') < found.index(b'"/b"')


OFFER = (
    b"POST /%s HTTP/1.1\r\nhost: hub\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n"
)
PLAIN_BODY = b"content-length: 2\r\n\r\nhi"
CHUNKED_BODY = b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [pytest.param(PLAIN_BODY, id="plain"), pytest.param(CHUNKED_BODY, id="chunked"), pytest.param(b"\r\n", id="none")],
)
@pytest.mark.parametrize("pause_after", [pytest.param(None, id="at-once"), pytest.param(b"\r\n\r\n", id="in-two")])
def test_another_protocol_that_a_caller_offers_is_passed_over(server, body, pause_after):
    sent = OFFER % b"x" + body + OFFER % b"y" + body + GET
    first, second = sent[: (cut := sent.index(pause_after) + 4 if pause_after else 0)], sent[cut:]
    with server.connect() as caller:
        caller.send(first)
        caller.send(second)
        found = caller.read_until(b'"headers": ["host"]}')

        told = b"hi" if body.endswith((b"hi", b"0\r\n\r\n")) else b""
        assert [found.count(b'"path": "/%s", "body": "%s"' % said) for said in ((b"x", told), (b"y", told))] == [1, 1]


def test_a_body_behind_an_offer_is_no_request_of_its_own(server):
    with server.connect() as caller:
        caller.send(OFFER % b"a" + b"content-length: %d\r\n\r\n" % len(GET))
        caller.send(GET + b"GET /z HTTP/1.1\r\nhost: hub\r\n\r\n")
        found = caller.read_until(b'"/z"')

        assert found.count(b"HTTP/1.1 200 OK") == 2


def test_a_caller_who_leaves_an_answer_with_another_request_behind_it_is_missed(server):
    with server.connect() as caller:
        caller.send(b"GET /endless HTTP/1.1\r\nhost: hub\r\n\r\n")
        caller.read_until(b"tick")
        caller.send(GET)

    assert server.app.is_left.wait(WITHIN_S)
